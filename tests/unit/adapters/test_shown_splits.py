"""How large a change of price has to be to show the split that splits.csv names."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from closebell.adapters.bar_files import read_splits
from closebell.model.errors import DataError
from closebell.model.panel import BarPanel


@pytest.mark.parametrize(("shown_ratio", "is_shown"), [(1.45, True), (1.38, False)])
def test_a_split_is_shown_by_a_change_that_is_nearer_to_it_than_to_none(
    tmp_path: Path, shown_ratio: float, is_shown: bool
) -> None:
    days = np.array(["2020-08-28", "2020-08-31"], dtype="datetime64[D]")
    prices = np.array([[100.0], [100.0 / shown_ratio]])
    panel = BarPanel(days, ("AAPL",), prices, prices, prices, prices, prices)
    (tmp_path / "splits.csv").write_text("symbol,ex_date,ratio\nAAPL,2020-08-31,2\n")
    if is_shown:
        assert read_splits(tmp_path, panel) == {"AAPL": {date(2020, 8, 31): 2.0}}
    else:
        with pytest.raises(DataError, match="AAPL does not show its split of 2"):
            read_splits(tmp_path, panel)
