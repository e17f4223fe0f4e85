"""The errors that REST answers, with both HTTP statuses: as documented, and as the kernel sends them."""

from __future__ import annotations

from typing import Any

DOCS, KERNEL = "docs", "kernel"

# error -> (status as documented, status of the kernel, default description)
SYSTEM_ERRORS: dict[str, tuple[int, int, str]] = {
    "QUERY_LIMIT_EXCEEDED": (503, 503, "Too many requests"),
    "OPERATION_TIME_LIMIT": (429, 429, "Method is blocked due to operation time limit."),
    "OVERLOAD_LIMIT": (503, 503, "REST API is blocked due to overload."),
    "INTERNAL_SERVER_ERROR": (500, 500, "Internal server error"),
    "ERROR_UNEXPECTED_ANSWER": (500, 500, "Server returned an unexpected response"),
    "CONNECTION_ERROR": (401, 401, "Error connecting to authorization server"),
    "expired_token": (401, 401, "The access token provided has expired."),
    "invalid_token": (401, 401, "Unable to get application by token"),
    "NO_AUTH_FOUND": (401, 401, "Wrong authorization data"),
    "insufficient_scope": (
        403,
        401,
        "The request requires higher privileges than the token has",
    ),
    "authorization_error": (401, 401, "Unable to authorize user"),
    "user_access_error": (403, 401, "The user does not have access to the application."),
    "ACCESS_DENIED": (403, 403, "Access denied!"),
    "INVALID_CREDENTIALS": (403, 403, "Invalid request credentials"),
    "APPLICATION_NOT_FOUND": (401, 401, "Application not found"),
    "PAYMENT_REQUIRED": (401, 402, "Payment required"),
    "PORTAL_DELETED": (500, 403, "Portal was deleted"),
    "ERROR_METHOD_NOT_FOUND": (404, 404, "Method not found!"),
    "INVALID_REQUEST": (400, 400, "Https required."),
    "ERROR_MANIFEST_IS_NOT_AVAILABLE": (404, 404, "Manifest is not available"),
    "ERROR_ARGUMENT": (400, 400, "Invalid argument"),
    "ERROR_CORE": (400, 400, "Internal error"),
    "ERROR_NOT_FOUND": (400, 400, "Not found"),
    "WRONG_ENCODING": (200, 200, "Wrong request encoding"),
    "WRONG_AUTH_TYPE": (403, 403, "Current authorization type is denied for this method"),
    "METHOD_CONFIRM_WAITING": (401, 401, "Waiting for confirmation"),
    "METHOD_CONFIRM_DENIED": (403, 403, "Method call denied"),
    "ERROR_BATCH_LENGTH_EXCEEDED": (400, 400, "Max batch length exceeded"),
    "ERROR_BATCH_METHOD_NOT_ALLOWED": (405, 405, "Method is not allowed for batch usage"),
    "ERROR_EVENT_NOT_FOUND": (400, 400, "Event not found"),
    "ERROR_WRONG_HANDLER_URL": (400, 400, "Wrong handler URL"),
    "ERROR_UNSUPPORTED_PROTOCOL": (400, 400, "Unsupported handler protocol"),
}

WEBHOOK_SCOPE = "The request requires higher privileges than provided by the webhook token"
COMMERCIAL_PLANS = "REST is available only on commercial plans."


class RestError(Exception):
    """One refusal of the portal. `status` None means: whatever the table says for the chosen column."""

    def __init__(self, error: str, description: str | None = None, status: int | None = None) -> None:
        super().__init__(error)
        self.error = error
        self.description = SYSTEM_ERRORS.get(error, (0, 0, error))[2] if description is None else description
        self._status = status

    def status(self, column: str) -> int:
        if self._status is not None:
            return self._status
        # The plan's refusal is an authorization error for the kernel, unlike its namesakes.
        if self.description == COMMERCIAL_PLANS:
            return 403 if column == DOCS else 401
        documented, kernel, _ = SYSTEM_ERRORS.get(self.error, (400, 400, ""))
        return documented if column == DOCS else kernel

    def body(self) -> dict[str, Any]:
        return {"error": self.error, "error_description": self.description}
