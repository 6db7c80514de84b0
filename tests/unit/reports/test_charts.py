"""The pictures show what the books say: looked at pixel by pixel."""

import subprocess
import sys
from decimal import Decimal
from io import BytesIO

import matplotlib as mpl
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from closebell.reports.charts import EQUITY_HEIGHT_PX, WIDTH_PX, equity_chart, exposure_chart
from tests.unit.reports.sample_issues import equity

Pixels = NDArray[np.int16]
BLUE, VERMILION, GREY = (0, 114, 178), (213, 94, 0), (195, 202, 211)
RISING = equity(*[str(100_000 + 100 * index) for index in range(60)])
FALLING = equity(*[str(100_000 - 100 * index) for index in range(60)])


def pixels(png: bytes) -> Pixels:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return np.asarray(Image.open(BytesIO(png)).convert("RGB")).astype(np.int16)


def painted(picture: Pixels, colour: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Where the picture has exactly this colour, give or take two."""
    return np.asarray((np.abs(picture - np.array(colour)) <= 2).all(axis=2))


def mean_row(mask: NDArray[np.bool_], columns: slice) -> float:
    return float(np.nonzero(mask[:, columns])[0].mean())


def curve(png: bytes) -> NDArray[np.bool_]:
    """The equity line, without the blue figure above it."""
    mask = painted(pixels(png), BLUE)
    mask[:70] = False
    return mask


@pytest.mark.parametrize("count", [0, 1, 2, 300])
def test_the_equity_picture_has_its_size_and_a_light_ground_for_any_number_of_sessions(count: int) -> None:
    picture = pixels(equity_chart(equity(*[str(100_000 + index * 7 % 900) for index in range(count)])))
    assert picture.shape == (EQUITY_HEIGHT_PX, WIDTH_PX, 3)
    assert picture[2, 2].min() > 240
    assert (picture.min(axis=2) < 200).sum() > 500, "something is written or drawn"


def test_no_session_gives_words_and_no_curve() -> None:
    assert not painted(pixels(equity_chart(())), BLUE).any()


def test_one_session_gives_one_dot_and_two_give_a_line() -> None:
    dot, line = (np.nonzero(curve(equity_chart(equity(*values)))) for values in (("100000",), ("100000", "101000")))
    assert np.ptp(dot[1]) < 40
    assert np.ptp(line[1]) > WIDTH_PX / 2


def test_the_curve_rises_with_equity_and_falls_with_it() -> None:
    early, late = slice(200, 400), slice(850, 1050)
    rising, falling = curve(equity_chart(RISING)), curve(equity_chart(FALLING))
    assert mean_row(rising, late) < mean_row(rising, early) - 100
    assert mean_row(falling, late) > mean_row(falling, early) + 100


def test_the_drawdown_hangs_below_the_curve_and_only_when_there_is_one() -> None:
    falling = pixels(equity_chart(FALLING))
    shade = (np.abs(falling - np.array((235, 195, 167))) <= 6).all(axis=2)
    rows = np.nonzero(shade)[0]
    assert shade.sum() > 5_000
    assert rows.min() > np.nonzero(curve(equity_chart(FALLING)))[0].max()
    calm = pixels(equity_chart(RISING))
    assert (np.abs(calm - np.array((235, 195, 167))) <= 6).all(axis=2).sum() < 200


def test_a_flat_curve_is_drawn_in_the_middle_not_at_an_edge() -> None:
    row = mean_row(curve(equity_chart(equity(*["100000"] * 10))), slice(200, 1000))
    assert 150 < row < 400


@pytest.mark.parametrize("draw", [
    lambda: equity_chart(RISING), lambda: exposure_chart({"AAPL": Decimal(20_000)}, Decimal(100_000)),
], ids=["equity", "exposure"])
def test_equal_input_gives_equal_bytes_whatever_the_users_settings(draw: object) -> None:
    assert callable(draw)
    plain = draw()
    with mpl.rc_context({"axes.facecolor": "black", "font.size": 30, "lines.linewidth": 9, "savefig.dpi": 50}):
        assert draw() == plain
    assert not {b"tEXt", b"iTXt", b"zTXt", b"tIME"} & {plain[at:at + 4] for at in range(len(plain) - 4)}


def test_another_process_draws_the_same_bytes() -> None:
    program = (
        "import hashlib\nfrom closebell.reports.charts import equity_chart\nfrom tests.unit.reports.sample_issues import equity\n"
        "print(hashlib.sha256(equity_chart(equity('100000', '100500', '99000'))).hexdigest())\n"
    )
    path = {"PYTHONPATH": ":".join(filter(None, sys.path)), "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    seen = {
        subprocess.run(
            [sys.executable, "-c", program], env=path | {"PYTHONHASHSEED": seed},
            capture_output=True, text=True, timeout=120, check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1


def test_bars_are_as_long_as_the_shares_they_stand_for() -> None:
    picture = pixels(exposure_chart({"AAPL": Decimal(40_000), "XOM": Decimal(20_000)}, Decimal(100_000)))
    blue = painted(picture, BLUE).sum(axis=1)
    grey = painted(picture, GREY).sum(axis=1)
    first, second = int(blue[: len(blue) // 2].max()), int(blue[len(blue) // 2:].max())
    lengths = sorted({int(length) for length in blue[blue > 0]})
    assert lengths[-1] == max(first, second)
    assert lengths[0] / lengths[-1] == pytest.approx(0.5, abs=0.02)
    assert grey.max() / lengths[-1] == pytest.approx(1.0, abs=0.02)


def test_borrowed_money_is_shown_as_such() -> None:
    picture = pixels(exposure_chart({"AAPL": Decimal(150_000)}, Decimal(100_000)))
    assert painted(picture, VERMILION).any()
    assert not painted(picture, GREY).any()


def test_an_empty_book_is_one_grey_bar() -> None:
    picture = pixels(exposure_chart({}, Decimal(100_000)))
    assert painted(picture, GREY).any()
    assert not painted(picture, BLUE).any()


def test_many_positions_stay_readable() -> None:
    picture = pixels(exposure_chart({f"S{index}": Decimal(1_000) for index in range(60)}, Decimal(100_000)))
    assert picture.shape[0] < 1_100


def test_a_dollar_sign_in_a_name_is_a_dollar_sign() -> None:
    assert exposure_chart({"A$B$": Decimal(1_000)}, Decimal(100_000)) != exposure_chart({"AB": Decimal(1_000)}, Decimal(100_000))
