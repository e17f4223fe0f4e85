"""How our sender describes itself in a portal's list, by Bitrix24's own two-letter language codes.

English comes first: the portal shows the first entry to everybody whose language is missing. Longer
codes are dropped by the portal without a word, so there are none.
"""

from __future__ import annotations

from collections.abc import Mapping

DESCRIPTIONS: Mapping[str, str] = {
    "en": "SMS through the gateway that your administrator connected, with delivery status",
    "ru": "SMS через шлюз, подключённый администратором, со статусом доставки",
    "de": "SMS über das Gateway, das Ihr Administrator verbunden hat, mit Zustellstatus",
    "la": "SMS a través de la pasarela que conectó su administrador, con estado de entrega",
    "br": "SMS pelo gateway que o administrador conectou, com status de entrega",
    "fr": "SMS par la passerelle que votre administrateur a connectée, avec statut de remise",
    "it": "SMS tramite il gateway collegato dall'amministratore, con stato di consegna",
    "pl": "SMS przez bramkę podłączoną przez administratora, ze statusem doręczenia",
    "tr": "Yöneticinizin bağladığı ağ geçidi üzerinden, teslim durumuyla SMS",
    "ua": "SMS через шлюз, який під'єднав адміністратор, зі статусом доставки",
}
LANGUAGES = tuple(DESCRIPTIONS)
