"""Vehicle plates of countries that write them in other letters than Latin.

The shapes are those of common private plates, from general knowledge; their shares are a judgment.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from dptr.text.charset import Charset
from dptr.text.random_parts import fill, pick

NATIVE_DIGITS = 0.7  # share of plates in the charset's own digits, where a country has both


@dataclass(frozen=True)
class NativePlate:
    """The plates of a country, or of several that are alike.

    Attributes:
        letters: those that * of a shape stands for.
        shapes: * is a letter, A a Latin one, 0 a digit; all else stands for itself.
        native: whether the digits may be the charset's own.
        joined: whether the letters would join without the spaces between them.
        needs: more characters that tell a charset of the country from those of its neighbors.
    """

    letters: str
    shapes: tuple[str, ...]
    native: bool = False
    joined: bool = False
    needs: str = ""

    def fits(self, charset: Charset) -> bool:
        """Whether the charset can write all of these plates; spaces may be missing unless letters join."""
        literals = "".join(self.shapes).replace("*", "").replace(" ", "")
        return charset.covers(self.letters + self.needs + literals) and (" " in charset or not self.joined)


NATIVE_PLATES = {
    "Egypt, Saudi Arabia": NativePlate(
        "بحدرسصطعقلمنهوى", ("* * * 0000", "* * * 000", "* * 0000", "* * 000", "* * * 00"), native=True, joined=True
    ),
    "Tunisia": NativePlate("", ("000تونس0000", "00تونس0000", "000 تونس 0000"), needs="ىك"),
    "Iran": NativePlate("بجدسصطقلمنوهی", ("00 * 000 00", "00 * 00000"), native=True, joined=True, needs="گ"),
    "Korea": NativePlate(
        "가나다라마거너더러머버서어저고노도로모보소오조구누두루무부수우주바사아자허하호",
        ("00*0000", "000*0000", "00* 0000", "000* 0000", "서울00*0000", "경기00*0000", "부산00*0000"),
    ),
    "China": NativePlate(
        "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼",
        ("*A00000", "*AA0000", "*A0A000", "*A 00000", "*A000A0", "*A00000A"),
    ),
    "Japan": NativePlate(
        "さすせそたちつてとなにぬねのはひふほまみむめもやゆよらりるろれわ",
        ("* 00-00", "品川500 * 00-00", "横浜300 * 00-00", "大阪330 * 00-00", "名古屋580 * 00-00"),
    ),
    "Thailand": NativePlate(
        "กขคฆงจฉชฌญฎฐณดตถทธนบปผพภมยรลวศษสหฬอฮ", ("** 0000", "0** 0000", "** 000", "* 0000", "0** 000")
    ),
    "Bangladesh": NativePlate(
        "কখগঘচছজটঠডঢতথদধনপফবভমযরলশসহ", ("ঢাকা মেট্রো * 00-0000", "চট্ট মেট্রো * 00-0000"), native=True
    ),
    "Nepal": NativePlate("कखगघचछजझटठडढतथदधनपफबभमयरलवशसह", ("बा 0 * 0000", "बा 00 * 0000", "ना 0 * 000"), native=True),
}


def native_plate(rng: np.random.Generator, charset: Charset) -> str:
    """A plate of a random country whose letters and digits the charset has; "" if there is none."""
    plates = _fitting(charset)
    if not plates:
        return ""
    plate = pick(rng, plates)
    text = fill(rng, pick(rng, plate.shapes))
    text = "".join([pick(rng, plate.letters) if symbol == "*" else symbol for symbol in text])
    if plate.native and charset.zeros and rng.random() < NATIVE_DIGITS:
        zero = ord(pick(rng, charset.zeros))
        text = text.translate({ord("0") + digit: zero + digit for digit in range(10)})
    return text if " " in charset else text.replace(" ", "")


@lru_cache(maxsize=8)
def _fitting(charset: Charset) -> tuple[NativePlate, ...]:
    return tuple(plate for plate in NATIVE_PLATES.values() if plate.fits(charset))
