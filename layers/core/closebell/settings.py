"""What the environment tells a function. Read once, when a function is built; a missing or odd setting is named."""

from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from closebell.model.errors import ConfigurationError

ALPACA_TRADING_URLS = {"paper": "https://paper-api.alpaca.markets", "live": "https://api.alpaca.markets"}
ALPACA_DATA_URL = "https://data.alpaca.markets"
CBOE_VIX_URL = "https://cdn.cboe.com/api/global/us_indices/daily_prices/VIX_History.csv"


class DeskSettings(BaseSettings):
    """The environment variables of closebell's functions; empty ones count as not set.

    Each function gets only those it needs; asking for one it was not given is a ConfigurationError that names it.
    """

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True, frozen=True)

    closebell_environment: Literal["local", "paper", "live"] = "paper"
    closebell_code_version: str = "unversioned"
    journal_table: str = ""
    book_table: str = ""
    control_table: str = ""
    archive_bucket: str = ""
    alerts_topic_arn: str = ""
    mail_from: str = ""
    mail_to: str = ""
    trading_key_parameter: str = ""
    data_key_parameter: str = ""
    alpaca_trading_url: str = ""
    alpaca_data_url: str = ALPACA_DATA_URL
    vix_history_url: str = CBOE_VIX_URL
    powertools_service_name: str = "closebell"

    @model_validator(mode="after")
    def _live_is_meant(self) -> Self:
        if self.closebell_environment != "live" and self.alpaca_trading_url.rstrip("/") == ALPACA_TRADING_URLS["live"]:
            raise ValueError(
                f"ALPACA_TRADING_URL is Alpaca's live host, but CLOSEBELL_ENVIRONMENT is {self.closebell_environment!r}"
            )
        return self

    @property
    def trading_url(self) -> str:
        """The broker's origin: as set, else Alpaca's for the environment."""
        if self.alpaca_trading_url:
            return self.alpaca_trading_url
        return ALPACA_TRADING_URLS["live" if self.closebell_environment == "live" else "paper"]

    @property
    def source_note(self) -> str:
        """Where prices and fills come from, for the newsletter."""
        if urlsplit(self.trading_url).hostname in {"127.0.0.1", "localhost"}:
            return "simulated exchange on this machine"
        return f"Alpaca, {self.closebell_environment} account"

    def require(self, name: str) -> str:
        """The value of a setting this function cannot do without."""
        value: str = getattr(self, name)
        if not value:
            raise ConfigurationError(
                f"{name.upper()} is not set: the template sets it for this function, see docs/configuration.md"
            )
        return value


class DataKeySettings(BaseSettings):
    """The owner's own Alpaca key on the owner's own machine: for price files, never for a function in AWS."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True, frozen=True)

    alpaca_key_id: str = ""
    alpaca_secret_key: SecretStr = SecretStr("")
    alpaca_data_url: str = ALPACA_DATA_URL


def read_data_key() -> DataKeySettings:
    """The key from the environment; ConfigurationError when it is not set."""
    key = DataKeySettings()
    if not key.alpaca_key_id or not key.alpaca_secret_key.get_secret_value():
        raise ConfigurationError(
            "ALPACA_KEY_ID and ALPACA_SECRET_KEY are not set: set them to the key of an Alpaca account, paper will do"
        )
    return key


def read_settings() -> DeskSettings:
    """The settings from the environment; ConfigurationError names the variable that cannot be right."""
    try:
        return DeskSettings()
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc'])).upper() or 'settings'}: {item['msg']}" for item in error.errors())
        raise ConfigurationError(f"the environment is not right: {problems}") from error
