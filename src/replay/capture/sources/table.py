"""Tables that a warehouse exports, with a request in a row: CSV (and TSV) and Parquet.

Columns are known by their names (``aliases``), or mapped: ``--map at=started --map path=uri --map method='"GET"'``.

A ``pandas.DataFrame`` is imported as the Parquet that it writes::

    frame.to_parquet("requests.parquet")  # then: replay import requests.parquet --out captures/mine

Parquet keeps what a CSV loses: types, time zones, bytes, and what is null. Headers may be a map, a list of pairs or of
structs, or JSON text; bodies text or bytes.
"""

from replay.capture.sources.table_csv import Csv
from replay.capture.sources.table_parquet import Parquet

SOURCES = (Csv(), Parquet())
