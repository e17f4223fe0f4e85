"""What the tour finds in a portal: three months of messages, in the language that it is shown in."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from app import create_app
from app.config import load_config
from app.store.database import utcnow, writing
from app.store.portals import portals
from app.store.tables import attempts, message_events, messages
from sandbox.client import PortalSandbox
from sandbox.stack import Stack
from tests.ui.desk import Desk

if TYPE_CHECKING:
    from playwright.sync_api import Browser

DAYS = 90
A_WORKDAY, A_SUNDAY = (32, 48), (9, 16)  # how many messages
GOOD_SHARE, A_GOOD_DAY = 0.7, 65  # today nothing has to be warned of
APART = timedelta(minutes=3)  # between the newest messages: what is unknown stays so for an hour
# Numbers that are kept for films where a country has such; the last two digits choose what the demo gateway
# does.
AMERICAN = "+120255501{}"
ENDINGS = ("20", "01", "31", "42", "53", "03", "64", "75", "07", "86", "09", "97", "22", "33")
FATES = {"delivered", "undelivered", "failed", "unknown", "sent"}
# Who sends: a person from a card, or a robot.
ORIGINS: Sequence[dict[str, Any]] = (
    {"author": 5},
    {"author": 6},
    {"origin": "robot"},
    {"author": 5},
    {"origin": "robot"},
)
MIXED = (
    "Your order 1042 is ready. We are open until 19:00.",
    "Dr. Smith expects you tomorrow at 9:30. Reply to this e-mail to move the date.",
    "Ваш заказ 2210 передан курьеру, он будет у вас с 14 до 16 часов.",
    "Dein Termin am 3. Juni um 10 Uhr ist bestätigt. Wir freuen uns auf dich! 🎉",
    "Code 4471. Valid for five minutes.",
)
# By the language as the portal names it: the numbers, and what a shop or a practice writes.
LANGUAGES: dict[str, tuple[str, Sequence[str]]] = {
    "en": (
        AMERICAN,
        (
            "Your order 1042 is ready. We are open until 7 pm. 🎉",
            "Dr. Smith expects you tomorrow at 9:30.",
            "Order 2210 is on its way and arrives between 2 and 4 pm.",
            "Your appointment on 3 June at 10:00 is confirmed.",
            "Thank you for your payment of $48.50.",
        ),
    ),
    "de": (
        "+4917139200{}",
        (
            "Ihre Bestellung 1042 ist abholbereit. Wir haben bis 19 Uhr geöffnet. 🎉",
            "Frau Dr. Schmidt erwartet Sie morgen um 9:30 Uhr.",
            "Bestellung 2210 ist unterwegs und kommt zwischen 14 und 16 Uhr an.",
            "Ihr Termin am 3. Juni um 10 Uhr ist bestätigt.",
            "Danke, Ihre Zahlung über 48,50 € ist eingegangen.",
        ),
    ),
    "ru": (
        AMERICAN,
        (
            "Ваш заказ 1042 готов. Мы открыты до 19:00. 🎉",
            "Доктор Смирнова ждёт вас завтра в 9:30.",
            "Заказ 2210 передан курьеру, он будет у вас с 14 до 16 часов.",
            "Запись на 3 июня в 10:00 подтверждена.",
            "Спасибо, оплата 1 250 ₽ получена.",
        ),
    ),
    "la": (
        AMERICAN,
        (
            "Su pedido 1042 está listo. Abrimos hasta las 19:00. 🎉",
            "La doctora Gómez le espera mañana a las 9:30.",
            "El pedido 2210 va en camino y llega entre las 14 y las 16 h.",
            "Su cita del 3 de junio a las 10:00 está confirmada.",
            "Gracias, hemos recibido su pago de 48,50 €.",
        ),
    ),
    "br": (
        AMERICAN,
        (
            "Seu pedido 1042 está pronto. Abrimos até as 19h. 🎉",
            "A Dra. Souza espera você amanhã às 9h30.",
            "O pedido 2210 está a caminho e chega entre 14h e 16h.",
            "Sua consulta de 3 de junho às 10h está confirmada.",
            "Obrigado, recebemos seu pagamento de R$ 148,50.",
        ),
    ),
    "fr": (
        "+336399801{}",
        (
            "Votre commande 1042 est prête. Nous sommes ouverts jusqu'à 19 h. 🎉",
            "Le Dr Martin vous attend demain à 9 h 30.",
            "La commande 2210 est en route et arrive entre 14 h et 16 h.",
            "Votre rendez-vous du 3 juin à 10 h est confirmé.",
            "Merci, nous avons reçu votre paiement de 48,50 €.",
        ),
    ),
    "it": (
        AMERICAN,
        (
            "Il Suo ordine 1042 è pronto. Siamo aperti fino alle 19. 🎉",
            "La dottoressa Rossi La aspetta domani alle 9:30.",
            "L'ordine 2210 è in viaggio e arriva tra le 14 e le 16.",
            "Il Suo appuntamento del 3 giugno alle 10 è confermato.",
            "Grazie, abbiamo ricevuto il pagamento di 48,50 €.",
        ),
    ),
    "pl": (
        AMERICAN,
        (
            "Zamówienie 1042 jest gotowe do odbioru. Czynne do 19:00. 🎉",
            "Dr Nowak czeka na Państwa jutro o 9:30.",
            "Zamówienie 2210 jest w drodze, kurier będzie między 14 a 16.",
            "Wizyta 3 czerwca o 10:00 jest potwierdzona.",
            "Dziękujemy, otrzymaliśmy płatność 148,50 zł.",
        ),
    ),
    "tr": (
        AMERICAN,
        (
            "1042 numaralı siparişiniz hazır. 19.00'a kadar açığız. 🎉",
            "Dr. Yılmaz sizi yarın saat 9.30'da bekliyor.",
            "2210 numaralı sipariş yolda, 14.00 ile 16.00 arasında gelecek.",
            "3 Haziran saat 10.00 randevunuz onaylandı.",
            "Teşekkürler, 480 TL tutarındaki ödemenizi aldık.",
        ),
    ),
    "ua": (
        AMERICAN,
        (
            "Ваше замовлення 1042 готове. Ми відчинені до 19:00. 🎉",
            "Лікарка Коваленко чекає на вас завтра о 9:30.",
            "Замовлення 2210 передано кур'єру, він буде з 14 до 16 години.",
            "Ваш запис на 3 червня о 10:00 підтверджено.",
            "Дякуємо, оплату 850 ₴ отримано.",
        ),
    ),
    "ar": (
        AMERICAN,
        (
            "طلبك رقم 1042 جاهز. نحن مفتوحون حتى السابعة مساءً. 🎉",
            "الدكتورة سلمى بانتظارك غدًا في الساعة 9:30.",
            "الطلب رقم 2210 في الطريق ويصل بين الثانية والرابعة.",
            "تم تأكيد موعدك في 3 يونيو الساعة 10:00.",
            "شكرًا لك، استلمنا دفعتك.",
        ),
    ),
}


def prepare(
    stack: Stack, browser: Browser, portal: int = 1, number: str = AMERICAN, texts: Sequence[str] = MIXED
) -> int:
    """A portal that has sent for three months; returns its number."""
    desk = Desk(stack, browser.new_page(), portal)
    desk.enter()
    desk.turn_to("/ui/gateway")
    desk.follow('a[href*="gateway=demo"]', "#set-originator")
    desk.app.locator("#set-originator").fill("EXAMPLE")
    desk.follow("form .btn.primary", ".note.ok")
    desk.page.close()
    member_id = str(desk.portal.info()["member_id"])
    for index, ending in enumerate(ENDINGS):
        sent_by = ORIGINS[index % len(ORIGINS)]
        desk.portal.send_sms(number.format(ending), texts[index % len(texts)], **sent_by)
    _wait_for_fates(stack, member_id)
    _wait_until_told(stack, desk.portal)
    _spread_over_the_past(stack, member_id)
    return portal


def _wait_for_fates(stack: Stack, member_id: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        rows = stack.flask("messages", "list", member_id, "--limit", "100")
        fates = [row["status"] for row in rows]
        if len(rows) == len(ENDINGS) and "queued" not in fates and set(fates) >= FATES:
            return
        time.sleep(0.5)
    raise SystemExit(f"the messages of the tour did not come to their ends: {fates}")


def _wait_until_told(stack: Stack, portal: PortalSandbox) -> None:
    """Else the copies, too, would wait to be told to a portal that does not know them."""
    deadline = time.monotonic() + 60
    with create_app(load_config(stack.env)).app_context():
        while time.monotonic() < deadline:
            found = portals.by_member(str(portal.info()["member_id"]))
            assert found is not None
            waiting = sa.select(sa.func.count()).where(
                messages.c.portal_id == found.id, messages.c.push_due_at.is_not(None)
            )
            with writing() as connection:
                if not connection.scalar(waiting):
                    return
            time.sleep(0.5)
    raise SystemExit("the portal of the tour was not told every status")


def _spread_over_the_past(stack: Stack, member_id: str) -> None:
    """Copies of what was just sent, with everything that belongs to them, on each of the days before."""
    chance = random.Random(7)  # noqa: S311 - the same story every time
    with create_app(load_config(stack.env)).app_context():
        portal = portals.by_member(member_id)
        assert portal is not None
        with writing() as connection:
            originals = (
                connection.execute(sa.select(messages).where(messages.c.portal_id == portal.id))
                .mappings()
                .all()
            )
            good = [row for row in originals if row["status"] == "delivered"]
            settled = [row for row in originals if row["status"] != "unknown"]  # it would end, and be told
            for back in _moments(chance):
                is_good = back < timedelta(days=2) or chance.random() < GOOD_SHARE
                copy = dict(chance.choice(good if is_good else settled))
                copy |= {"message_id": f"{chance.getrandbits(128):032x}", "counted_as": "", "split_as": ""}
                _copy(connection, copy, back)
            for age, row in zip(reversed(range(len(originals))), originals, strict=True):
                # The log is in the order of the rows, so the newest ones come last.
                connection.execute(
                    sa.update(messages).where(messages.c.id == row["id"]).values(message_id="copied")
                )
                _copy(connection, dict(row), age * APART)  # counted as what it replaces
                connection.execute(sa.delete(messages).where(messages.c.id == row["id"]))


def _moments(chance: random.Random) -> list[timedelta]:
    """How long ago, the oldest first: working hours of ninety days, and of today until the newest ones."""
    moments = [
        timedelta(days=day, minutes=chance.randint(-60, 400))
        for day in range(DAYS, 0, -1)
        for _ in range(chance.randint(*(A_SUNDAY if _is_weekend(day) else A_WORKDAY)))
    ]
    newest = len(ENDINGS) * APART
    moments += [newest + timedelta(minutes=chance.randint(0, 200)) for _ in range(A_GOOD_DAY)]
    return sorted(moments, reverse=True)


def _is_weekend(days_ago: int) -> bool:
    """A day like today is a busy one."""
    return days_ago % 7 != 0 and (utcnow() - timedelta(days=days_ago)).weekday() >= 5


def _copy(connection: sa.Connection, row: dict[str, Any], back: timedelta) -> None:
    old_id = row.pop("id")
    row |= {"attempt_id": None}
    key = connection.execute(sa.insert(messages).values(_earlier(row, back))).inserted_primary_key
    assert key is not None
    new_id = key[0]
    for table in (attempts, message_events):
        for each in (
            connection.execute(sa.select(table).where(table.c.message_row_id == old_id)).mappings().all()
        ):
            copy = {**each, "message_row_id": new_id}
            del copy["id"]
            if "reference" in copy:
                copy["reference"] = secrets.token_hex(8)
            connection.execute(sa.insert(table).values(_earlier(copy, back)))


def _earlier(row: dict[str, Any], back: timedelta) -> dict[str, Any]:
    return {name: value - back if hasattr(value, "tzinfo") else value for name, value in row.items()}
