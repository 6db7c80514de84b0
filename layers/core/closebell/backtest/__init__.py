"""The backtest: the deployed decisions over past bars, and what tells whether the result can be believed.

`desk` trades, `notes` says what a reader must know, `run` makes one backtest of both, `results` writes it down. Above them `bias`
looks for lookahead, `validation` for luck, and `sweeps` tries many desks.
"""
