# sqlite3: tables, indices, joins, recursion, windows, real numbers, text search, JSON, integrity.
sqlite3 data.db </battery/queries.sql
echo "sqlite: status $?"
sqlite3 data.db .dump | sha256sum
