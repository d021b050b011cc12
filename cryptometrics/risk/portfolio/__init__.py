"""A portfolio: what is held, what it is worth at the market, and what it could lose.

The modules follow the data. `definition` is what a person states; `positions_file` and `positions_csv` read
it. `marks` prices it, `scenarios` measures its risk, `limits` compares that with what is allowed, and
`valuation` joins them. All of it is pure: a valuation can be computed again from the version of the
portfolio, the marks and the minutes.
"""
