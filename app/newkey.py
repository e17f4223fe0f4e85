"""`python -m app.newkey`: prints a fresh key, for ENCRYPTION_KEYS or for SECRET_KEY."""

from cryptography.fernet import Fernet

if __name__ == "__main__":
    print(Fernet.generate_key().decode())
