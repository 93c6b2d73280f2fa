"""Generators of strings on devices: display readings, codes of cable markers, serial numbers, license plates.

The shapes imitate photographs of such devices. They and their shares are a judgment, not measured.
"""

from __future__ import annotations

import re

import numpy as np

from dptr.text.charset import Charset
from dptr.text.random_parts import Pattern, fill, pick, random_digits

_MESSAGES = (
    "Err", "Lo", "HELP", "OPEN", "PUSH", "HOLD", "FULL", "PASS", "FAIL", "CAL", "END", "SET", "OFF", "ON", "LOAd",
    "donE", "StoP", "run", "HEAT", "COOL", "AUTO", "ALARM", "READY", "PLAY", "STOP", "CLOSED", "EXIT",
    "NEXT STOP", "PAY HERE", "LANE 00", "GATE A00", "TRACK 0", "E-00", "E00", "F0", "P00", "U0.0", "A00",
)  # fmt: skip
_MARKERS = (
    "00000", "0000", "000", "00", "0", "A0", "A00", "A000", "A0000", "AA0", "AA00", "AA000", "00A00", "000A00",
    "00A", "0A00", "0A", "A", "AA", "-AA0000", "-AA0", "-A0", "-A00", "-A", "AA0:0", "AA00:00:0", "AA0:00",
    "00A_AA00", "A0_A0", "0:0", "000A-", "-AA0A00", "-A0AAA", "+00A", "0/A0", "00.0", "A0.0", "L0", "PE", "N",
    "X0:0", "-X00", "-K0", "24V", "0V", "24V_DI00", "24V_DO00",
)  # fmt: skip
_SERIALS = (
    "AA000000", "AAA00000A", "00A00000", "A0000-00", "0000-0000", "AA-00-000", "A000A", "00000000", "000000",
    "A0-00000-0", "000AA00", "AAAA-00000", "M00", "M00x0.0", "DN000", "PN00", "NO.000000", "S/N000000",
    "SN:00000000", "LOT000000", "LOTA0A000", "EXP00/00", "TYPE-A0", "MODEL-A00", "000V", "000-000V", "00A",
    "00kg", "0.00MPa", "A000-A00", "P/N00000-00",
)  # fmt: skip
_PLATES = (
    "AAA 0000", "AAA 000", "AA00 AAA", "0AAA000", "AAA0000", "000 AAA", "AA 00000", "A 00000", "AA-000-AA",
    "A AA 0000", "AA 0000 AA", "00 AAA 00", "AA 00 AA 0000", "AAA 00A", "00A 000", "0000 AA", "000 000",
    "000-AAA", "AAA-0A00", "AB0 000", "A00 AAA", "AA 000 AA", "0 AAA 000", "AAAAA", "AAAAAAA", "AAA000", "00000",
    "000A00",
)  # fmt: skip


def reading(rng: np.random.Generator, charset: Charset, longest: int = 25) -> str:
    """Readings of displays: 98, 36.5, 120, 0.00, -12.3, 120-80, 1234.56."""
    shape = rng.random()
    count = pick(rng, (1, 2, 2, 2, 3, 3, 3, 4, 5, 6))
    whole = random_digits(rng, count, leading_zero=rng.random() < 0.08)
    if shape < 0.45:
        return whole
    decimals = random_digits(rng, pick(rng, (1, 1, 1, 2, 2, 3)), leading_zero=True)
    if shape < 0.85:
        return f"{whole[:4]}.{decimals}"
    if shape < 0.93:
        return f"-{whole[:3]}" + (f".{decimals[:1]}" if rng.random() < 0.5 else "")
    return pick(rng, (f"{whole[:3]}-{decimals}", f"0.{decimals}", f"{random_digits(rng, 8)}"))


def clock(rng: np.random.Generator, charset: Charset, longest: int = 25) -> str:
    """Times on clock displays: 12:30, 9:05, 07:45:10, 12-05."""
    hour, minute, second = (int(rng.integers(most)) for most in (24, 60, 60))
    return pick(
        rng,
        (f"{hour}:{minute:02}", f"{hour:02}:{minute:02}", f"{hour:02}:{minute:02}", f"{minute:02}:{second:02}",
         f"{hour:02}:{minute:02}:{second:02}", f"{1 + hour // 2:02}-{1 + minute // 2:02}"),
    )  # fmt: skip


def message(rng: np.random.Generator, charset: Charset, longest: int = 25) -> str:
    """Messages of displays: OPEN, Err, E-04. Spaces are removed if the charset has none."""
    return _spaced(fill_digits(rng, pick(rng, _MESSAGES)), charset)


def marker(rng: np.random.Generator, charset: Charset, longest: int = 25) -> str:
    """Codes of wires and terminals: 29405, -QF1024, XE1:58:1, 24V_DI04."""
    shape = pick(rng, _MARKERS)
    return fill_digits(rng, shape) if "V" in shape else fill(rng, shape)


def serial(rng: np.random.Generator, charset: Charset, longest: int = 25) -> str:
    """Serial numbers, lots, ratings: SN:00412345, LOTA4B201, M12x1.5, DN100; with a space, if the charset has one."""
    shape = pick(rng, _SERIALS)
    words = re.match(r"[A-Z/]{3,}|SN|PN|DN|M(?=0)|S/N|P/N|NO", shape)
    if words and "A" not in words.group()[:-1]:
        text = words.group() + fill(rng, shape[words.end() :])
    else:
        text = fill(rng, shape)
    if " " in charset and rng.random() < 0.3:
        text = re.sub(r"(?<=[A-Z])[:.]?(?=\d)", " ", text, count=1)
    return text


def license_plate(rng: np.random.Generator, charset: Charset, longest: int = 25) -> str:
    """License plates: AB12 CDE, ABC-1234, 7ABC123, 123 456. Spaces are removed if the charset has none."""
    return _spaced(fill(rng, pick(rng, _PLATES)), charset)


def fill_digits(rng: np.random.Generator, shape: str) -> str:
    """Replace each 0 of ``shape`` by a random digit."""
    return "".join([str(int(rng.integers(10))) if slot == "0" else slot for slot in shape])


def _spaced(text: str, charset: Charset) -> str:
    return text if " " in charset else text.replace(" ", "")


DEVICE_PATTERNS: dict[str, Pattern] = {
    "reading": reading,
    "clock": clock,
    "message": message,
    "marker": marker,
    "serial": serial,
    "license_plate": license_plate,
}
