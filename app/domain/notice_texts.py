"""What administrators read in Bitrix24's notification centre, by Bitrix24's own two-letter language codes.

A notice leaves our pages, so nothing of a gateway's words, of messages or of numbers is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.domain.incidents import GatewayCause, IncidentKind


@dataclass(frozen=True)
class Notices:
    """What happened, what it means for sending, what to do: one text for each beginning and end."""

    stopped: str
    silent: str
    check: str
    gateway_over: str
    low: str
    balance_over: str
    not_ready: str
    portal_over: str


_ENGLISH = Notices(
    stopped="The SMS gateway refuses your account. Messages wait. Open the app and check the"
    " access data; if they are right, top up the account at the gateway.",
    silent="The SMS gateway does not answer. Messages wait and are tried again by themselves. If"
    " it stays so, open the app and check the gateway.",
    check="The regular check of the SMS gateway fails. Messages may not be sent. Open the app"
    " and press “Save and check” on the Gateway page.",
    gateway_over="The trouble with the SMS gateway is over. Messages are being sent again.",
    low="The balance at the SMS gateway is below your limit. Messages are still sent. Top up"
    " the account there before it is used up.",
    balance_over="The alert about the low balance at the SMS gateway has ended. The app’s overview"
    " shows the balance.",
    not_ready="The app is not fully registered in Bitrix24. It may be missing where an SMS provider"
    " is chosen. Open the app and press “Try again”.",
    portal_over="The app’s connection with Bitrix24 works again. Statuses that waited are being told.",
)

NOTICES: Mapping[str, Notices] = {
    "en": _ENGLISH,
    "ru": Notices(
        stopped="SMS-шлюз не принимает ваш аккаунт. Сообщения ждут. Откройте приложение и проверьте"
        " данные доступа; если они верны, пополните счёт у шлюза.",
        silent="SMS-шлюз не отвечает. Сообщения ждут, отправка повторяется сама. Если так останется,"
        " откройте приложение и проверьте шлюз.",
        check="Регулярная проверка SMS-шлюза не проходит. Сообщения могут не отправляться. Откройте"
        " приложение и нажмите «Сохранить и проверить» на странице шлюза.",
        gateway_over="Неполадка с SMS-шлюзом устранена. Сообщения снова отправляются.",
        low="Баланс у SMS-шлюза ниже вашего порога. Сообщения пока отправляются. Пополните счёт,"
        " пока он не исчерпан.",
        balance_over="Предупреждение о низком балансе у SMS-шлюза снято. Баланс виден на странице обзора"
        " приложения.",
        not_ready="Приложение не полностью зарегистрировано в Битрикс24. Его может не быть в списке"
        " SMS-провайдеров. Откройте приложение и повторите попытку.",
        portal_over="Связь приложения с Битрикс24 снова работает. Статусы, которые ждали, передаются.",
    ),
    "de": Notices(
        stopped="Das SMS-Gateway lehnt Ihr Konto ab. Nachrichten warten. Öffnen Sie die App und"
        " prüfen Sie die Zugangsdaten; stimmen sie, laden Sie das Konto beim Gateway auf.",
        silent="Das SMS-Gateway antwortet nicht. Nachrichten warten und werden von selbst erneut"
        " versucht. Bleibt es dabei, öffnen Sie die App und prüfen Sie das Gateway.",
        check="Die regelmäßige Prüfung des SMS-Gateways schlägt fehl. Nachrichten werden vielleicht"
        " nicht gesendet. Öffnen Sie die App und prüfen Sie das Gateway auf seiner Seite.",
        gateway_over="Die Störung beim SMS-Gateway ist vorbei. Nachrichten werden wieder gesendet.",
        low="Das Guthaben beim SMS-Gateway liegt unter Ihrer Grenze. Nachrichten werden noch"
        " gesendet. Laden Sie das Konto auf, bevor es leer ist.",
        balance_over="Die Warnung wegen des niedrigen Guthabens beim SMS-Gateway ist beendet. Die"
        " Übersicht der App zeigt das Guthaben.",
        not_ready="Die App ist in Bitrix24 nicht vollständig registriert. Sie kann in der Liste der"
        " SMS-Anbieter fehlen. Öffnen Sie die App und versuchen Sie es erneut.",
        portal_over="Die Verbindung der App mit Bitrix24 funktioniert wieder. Wartende Status werden"
        " gemeldet.",
    ),
    "la": Notices(
        stopped="La pasarela de SMS rechaza su cuenta. Los mensajes esperan. Abra la aplicación y"
        " revise los datos de acceso; si son correctos, recargue la cuenta en la pasarela.",
        silent="La pasarela de SMS no responde. Los mensajes esperan y se reintentan solos. Si"
        " continúa así, abra la aplicación y revise la pasarela.",
        check="La comprobación periódica de la pasarela de SMS falla. Es posible que los mensajes"
        " no se envíen. Abra la aplicación y compruebe la pasarela en su página.",
        gateway_over="El problema con la pasarela de SMS ha terminado. Los mensajes se envían de nuevo.",
        low="El saldo en la pasarela de SMS está por debajo de su límite. Los mensajes aún se"
        " envían. Recargue la cuenta antes de que se agote.",
        balance_over="El aviso de saldo bajo en la pasarela de SMS ha terminado. El resumen de la"
        " aplicación muestra el saldo.",
        not_ready="La aplicación no está registrada por completo en Bitrix24. Puede faltar en la lista"
        " de proveedores de SMS. Abra la aplicación e inténtelo de nuevo.",
        portal_over="La conexión de la aplicación con Bitrix24 funciona de nuevo. Se comunican los"
        " estados pendientes.",
    ),
    "br": Notices(
        stopped="O gateway de SMS recusa a sua conta. As mensagens aguardam. Abra o aplicativo e"
        " confira os dados de acesso; se estiverem certos, recarregue a conta no gateway.",
        silent="O gateway de SMS não responde. As mensagens aguardam e são tentadas de novo"
        " sozinhas. Se continuar assim, abra o aplicativo e confira o gateway.",
        check="A verificação periódica do gateway de SMS falha. As mensagens podem não ser"
        " enviadas. Abra o aplicativo e verifique o gateway na página dele.",
        gateway_over="O problema com o gateway de SMS acabou. As mensagens voltam a ser enviadas.",
        low="O saldo no gateway de SMS está abaixo do seu limite. As mensagens ainda são"
        " enviadas. Recarregue a conta antes que ele acabe.",
        balance_over="O alerta de saldo baixo no gateway de SMS terminou. A visão geral do aplicativo"
        " mostra o saldo.",
        not_ready="O aplicativo não está totalmente registrado no Bitrix24. Ele pode faltar na lista de"
        " provedores de SMS. Abra o aplicativo e tente de novo.",
        portal_over="A conexão do aplicativo com o Bitrix24 voltou a funcionar. Os status pendentes estão"
        " sendo informados.",
    ),
    "fr": Notices(
        stopped="La passerelle SMS refuse votre compte. Les messages attendent. Ouvrez l’application"
        " et vérifiez les données d’accès ; si elles sont justes, rechargez le compte auprès"
        " de la passerelle.",
        silent="La passerelle SMS ne répond pas. Les messages attendent et sont réessayés"
        " d’eux-mêmes. Si cela dure, ouvrez l’application et vérifiez la passerelle.",
        check="La vérification régulière de la passerelle SMS échoue. Les messages ne partent"
        " peut-être pas. Ouvrez l’application et vérifiez la passerelle sur sa page.",
        gateway_over="Le problème avec la passerelle SMS est terminé. Les messages partent de nouveau.",
        low="Le solde auprès de la passerelle SMS est sous votre limite. Les messages partent"
        " encore. Rechargez le compte avant qu’il ne soit épuisé.",
        balance_over="L’alerte de solde bas auprès de la passerelle SMS est levée. L’aperçu de"
        " l’application montre le solde.",
        not_ready="L’application n’est pas entièrement enregistrée dans Bitrix24. Elle peut manquer"
        " dans la liste des fournisseurs SMS. Ouvrez l’application et réessayez.",
        portal_over="La connexion de l’application avec Bitrix24 fonctionne de nouveau. Les statuts en"
        " attente sont transmis.",
    ),
    "it": Notices(
        stopped="Il gateway SMS rifiuta il suo account. I messaggi attendono. Apra l’applicazione e"
        " controlli i dati di accesso; se sono giusti, ricarichi l’account presso il gateway.",
        silent="Il gateway SMS non risponde. I messaggi attendono e vengono ritentati da soli. Se"
        " continua così, apra l’applicazione e controlli il gateway.",
        check="Il controllo periodico del gateway SMS fallisce. I messaggi potrebbero non essere"
        " inviati. Apra l’applicazione e verifichi il gateway nella sua pagina.",
        gateway_over="Il problema con il gateway SMS è finito. I messaggi vengono di nuovo inviati.",
        low="Il saldo presso il gateway SMS è sotto il suo limite. I messaggi vengono ancora"
        " inviati. Ricarichi l’account prima che si esaurisca.",
        balance_over="L’avviso di saldo basso presso il gateway SMS è terminato. La panoramica"
        " dell’applicazione mostra il saldo.",
        not_ready="L’applicazione non è registrata del tutto in Bitrix24. Può mancare nell’elenco dei"
        " fornitori SMS. Apra l’applicazione e riprovi.",
        portal_over="La connessione dell’applicazione con Bitrix24 funziona di nuovo. Gli stati in attesa"
        " vengono comunicati.",
    ),
    "pl": Notices(
        stopped="Bramka SMS odrzuca Twoje konto. Wiadomości czekają. Otwórz aplikację i sprawdź dane"
        " dostępu; jeśli są poprawne, doładuj konto w bramce.",
        silent="Bramka SMS nie odpowiada. Wiadomości czekają i są ponawiane samoczynnie. Jeśli tak"
        " pozostanie, otwórz aplikację i sprawdź bramkę.",
        check="Regularne sprawdzenie bramki SMS się nie udaje. Wiadomości mogą nie być wysyłane."
        " Otwórz aplikację i sprawdź bramkę na jej stronie.",
        gateway_over="Kłopot z bramką SMS minął. Wiadomości są znowu wysyłane.",
        low="Saldo w bramce SMS jest poniżej Twojej granicy. Wiadomości są jeszcze wysyłane."
        " Doładuj konto, zanim się wyczerpie.",
        balance_over="Ostrzeżenie o niskim saldzie w bramce SMS zostało zakończone. Przegląd w aplikacji"
        " pokazuje saldo.",
        not_ready="Aplikacja nie jest w pełni zarejestrowana w Bitrix24. Może jej brakować na liście"
        " dostawców SMS. Otwórz aplikację i spróbuj ponownie.",
        portal_over="Połączenie aplikacji z Bitrix24 znowu działa. Oczekujące statusy są przekazywane.",
    ),
    "tr": Notices(
        stopped="SMS ağ geçidi hesabınızı reddediyor. Mesajlar bekliyor. Uygulamayı açıp erişim"
        " bilgilerini kontrol edin; doğruysa ağ geçidindeki hesabınıza bakiye yükleyin.",
        silent="SMS ağ geçidi yanıt vermiyor. Mesajlar bekliyor ve kendiliğinden yeniden deneniyor."
        " Böyle sürerse uygulamayı açıp ağ geçidini kontrol edin.",
        check="SMS ağ geçidinin düzenli denetimi başarısız oluyor. Mesajlar gönderilemiyor"
        " olabilir. Uygulamayı açıp ağ geçidini kendi sayfasında denetleyin.",
        gateway_over="SMS ağ geçidindeki sorun bitti. Mesajlar yeniden gönderiliyor.",
        low="SMS ağ geçidindeki bakiye belirlediğiniz sınırın altında. Mesajlar hâlâ"
        " gönderiliyor. Tükenmeden hesabınıza bakiye yükleyin.",
        balance_over="SMS ağ geçidindeki düşük bakiye uyarısı sona erdi. Bakiye, uygulamanın genel bakış"
        " sayfasındadır.",
        not_ready="Uygulama Bitrix24’e tam olarak kaydedilmedi. SMS sağlayıcıları listesinde"
        " görünmeyebilir. Uygulamayı açıp yeniden deneyin.",
        portal_over="Uygulamanın Bitrix24 ile bağlantısı yeniden çalışıyor. Bekleyen durumlar bildiriliyor.",
    ),
    "ua": Notices(
        stopped="SMS-шлюз не приймає ваш обліковий запис. Повідомлення чекають. Відкрийте застосунок"
        " і перевірте дані доступу; якщо вони правильні, поповніть рахунок у шлюзу.",
        silent="SMS-шлюз не відповідає. Повідомлення чекають, надсилання повторюється саме. Якщо так"
        " триватиме, відкрийте застосунок і перевірте шлюз.",
        check="Регулярна перевірка SMS-шлюзу не вдається. Повідомлення можуть не надсилатися."
        " Відкрийте застосунок і перевірте шлюз на його сторінці.",
        gateway_over="Несправність SMS-шлюзу усунено. Повідомлення знову надсилаються.",
        low="Баланс у SMS-шлюзу нижчий за вашу межу. Повідомлення ще надсилаються. Поповніть"
        " рахунок, доки він не вичерпався.",
        balance_over="Попередження про низький баланс у SMS-шлюзу знято. Баланс показано в огляді"
        " застосунку.",
        not_ready="Застосунок не повністю зареєстровано в Бітрікс24. Його може не бути в списку"
        " SMS-провайдерів. Відкрийте застосунок і спробуйте ще раз.",
        portal_over="Зв’язок застосунку з Бітрікс24 знову працює. Статуси, що чекали, передаються.",
    ),
}


def notice_text(kind: IncidentKind, cause: str, *, is_over: bool, language: str, app_name: str) -> str:
    """One notice; in English where there is none in the language."""
    texts = NOTICES.get(language, _ENGLISH)
    text = _over(texts, kind) if is_over else _begun(texts, kind, cause)
    return f"{app_name}: {text}"


def _begun(texts: Notices, kind: IncidentKind, cause: str) -> str:
    match kind:
        case IncidentKind.PORTAL:
            return texts.not_ready  # the only bad state in which a portal can be told anything
        case IncidentKind.BALANCE:
            return texts.low
    return {GatewayCause.STOPPED: texts.stopped, GatewayCause.SILENT: texts.silent}.get(
        GatewayCause(cause), texts.check
    )


def _over(texts: Notices, kind: IncidentKind) -> str:
    match kind:
        case IncidentKind.PORTAL:
            return texts.portal_over
        case IncidentKind.BALANCE:
            return texts.balance_over
    return texts.gateway_over
