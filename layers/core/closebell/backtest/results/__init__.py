"""What a backtest and a comparison leave behind: tables, attribution, pages and pictures."""
