from tests.sdks.conftest import address

__all__ = ["address"]
