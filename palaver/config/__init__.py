"""Every setting: its default, then the configuration file, then the environment, then flags.

A setting `data_dir` is `data_dir = …` in the file (TOML), `PALAVER_DATA_DIR` in the environment and
`--data-dir` on the command line. Lists are comma-separated in the environment, tables are `NAME=VALUE` pairs.
This room is a leaf: it knows no other of palaver.

settings  what there is
loading   where it comes from
writing   one setting changed in the file
"""

from palaver.config.kinds import LOOPBACK
from palaver.config.loading import (
    FILE_NAME,
    PREFIX,
    SECRET,
    SIZES,
    WELL_KNOWN,
    SettingError,
    load,
    settings_file,
)
from palaver.config.settings import Config

__all__ = [
    "FILE_NAME",
    "LOOPBACK",
    "PREFIX",
    "SECRET",
    "SIZES",
    "WELL_KNOWN",
    "Config",
    "SettingError",
    "load",
    "settings_file",
]
