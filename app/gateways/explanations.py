"""What gateways refuse and report, in plain words: sentences that several vendors' codes share.

An adapter maps its codes to these where one fits, so that a code of the next vendor costs no translation.
"""

from __future__ import annotations

# --- the account: an admin has to do something

WRONG_KEY = "The gateway did not accept the access data. Check them on the page of the gateway."
NO_MONEY = "There is no money left on the account at the gateway. Top it up there."
ACCOUNT_STOPPED = "The gateway has stopped this account, or not released it yet. Sign in there to see why."
ADDRESS_NOT_ALLOWED = "The gateway takes no calls from this server's address. Allow the address there."
BAD_ORIGINATOR = (
    "The gateway does not accept the originator. Choose one that it has released for your account."
)
DAILY_LIMIT = "The account's limit of messages is reached. Raise it at the gateway, or wait."
CONTRACT = "The account's contract does not cover this kind of message. Ask the gateway to add it."

# --- this message

BAD_NUMBER = "The phone number is not one that exists. Correct it in the CRM card."
NO_TEXT = "The message has no text."
TEXT_TOO_LONG = "The text is too long for this gateway. Shorten it."
TEXT_REFUSED = "The gateway does not let this text pass. Change its words, or ask the gateway to release it."
NO_ROUTE = (
    "The gateway cannot reach this number. Try another originator, or ask the gateway about the operator."
)
COUNTRY = "The account may not send to this country. Ask the gateway to allow it."
TRIAL = "A trial account sends only to numbers that were verified at the gateway. Upgrade the account."
STOP_LIST = "The recipient does not want these messages, or the number is on a stop list at the gateway."
REPEATED = "The gateway took this for the same message again. Wait a while, or change the text."
NUMBER_LIMIT = "This number has got too many messages. Wait a while before the next one."
TEMPLATE = (
    "The text matches no template that was approved. Correct the text, or the templates at the gateway."
)
BAD_REQUEST = "The gateway did not understand the request. Tell whoever runs this server."

# --- not now

TOO_FAST = "The gateway wants fewer requests at a time. Messages are sent more slowly by themselves."
GATEWAY_FAULT = "The gateway had a fault of its own. The message is tried again by itself."

PHONE_OFFLINE = "The phone that sends has no network. Look whether it is on and its SIM card works."
PHONE_LIMIT = "The phone that sends, or its operator, lets no more messages out for now. Try again later."
CONSENT = "The recipient has not agreed to advertising (IYS), or your brand is not registered there."

# --- an answer that says nothing clear

NO_ID = "The gateway's answer has no id for the message."
NO_OUTCOME = "The gateway's answer does not say what became of the message."

# --- after it was taken

OUT_OF_REACH = "The phone is off or out of reach. Try again later."
EXPIRED = "The message could not be delivered in time: the phone was off or out of reach."
UNDELIVERABLE = "The operator could not deliver the message. Check the number, then try again."
NOBODY = "Nobody has this phone number any more. Ask the person for the new one."
BLOCKED = "The recipient or the operator blocks messages from this originator."
SPAM = "The operator took the message for spam. Avoid short links and advertising words."
CANCELLED = "The message was cancelled or deleted at the gateway."
NOT_THERE = "The gateway does not have this message."
