PRAGMA journal_mode = WAL;
CREATE TABLE n(i INTEGER PRIMARY KEY, h INTEGER, r REAL, t TEXT, b BLOB);
INSERT INTO n WITH RECURSIVE c(i, x) AS (SELECT 1, 12345 UNION ALL SELECT i + 1, (x * 1103515245 + 12345) & 2147483647 FROM c WHERE i < 30000)
  SELECT i, x, x / 7919.0, printf('%08x-%d', x, x % 1000), CAST(printf('%c%d', 65 + x % 26, x) AS BLOB) FROM c;
CREATE INDEX nh ON n(h);
CREATE INDEX nt ON n(substr(t, 1, 4), r);
SELECT count(*), sum(h), min(h), max(h), avg(r), total(r) FROM n;
SELECT h % 17 AS k, count(*), printf('%.10f', avg(r)), group_concat(i % 10, '') IS NOT NULL FROM n GROUP BY k ORDER BY k;
SELECT a.i, b.i, a.h - b.h FROM n a JOIN n b ON b.h BETWEEN a.h + 1 AND a.h + 3000 WHERE a.i < 200 ORDER BY a.i, b.i LIMIT 40;
SELECT i, sum(r) OVER (ORDER BY i ROWS 5 PRECEDING), rank() OVER (PARTITION BY h % 5 ORDER BY r) FROM n WHERE i % 1500 = 0 ORDER BY i;
UPDATE n SET r = r * 1.5 + length(t), t = upper(t) || hex(b) WHERE i % 3 = 0;
DELETE FROM n WHERE h % 11 = 4;
SELECT count(*), sum(length(t)), sum(r) FROM n;
SELECT printf('%.15g %e %10.2f|%-10s|%05d|%x', r, r, r, t, h % 100000, h) FROM n WHERE i < 40;
SELECT sin(1.0), cos(2.0), sqrt(2.0), exp(1.0), ln(10.0), pow(2.5, 3.5), round(2.675, 2), 1e308 * 10, -1.0 / 3;
SELECT 9223372036854775807 + 1, 9223372036854775807 * 1.0, -9223372036854775808 / -1, 7 % -3, -7 / 2, 1 << 62, ~5;
WITH RECURSIVE x(v) AS (SELECT -2.0 UNION ALL SELECT v + 0.05 FROM x WHERE v < 1.2), y(v) AS (SELECT -1.0 UNION ALL SELECT v + 0.1 FROM y WHERE v < 1.0),
  m(n, cx, cy, a, b) AS (SELECT 0, x.v, y.v, 0.0, 0.0 FROM x, y UNION ALL SELECT n + 1, cx, cy, a * a - b * b + cx, 2.0 * a * b + cy FROM m WHERE a * a + b * b < 4.0 AND n < 28),
  p(n, cx, cy) AS (SELECT max(n), cx, cy FROM m GROUP BY cx, cy), q(l) AS (SELECT group_concat(substr(' .+*#', 1 + min(n / 7, 4), 1), '') FROM p GROUP BY cy)
  SELECT rtrim(l) FROM q;
CREATE VIRTUAL TABLE f USING fts5(body);
INSERT INTO f SELECT t || ' word' || (h % 50) || ' more text' || (i % 7) FROM n WHERE i < 3000;
SELECT count(*) FROM f WHERE f MATCH 'word7 AND text3';
SELECT rowid, printf('%.6f', bm25(f)) FROM f WHERE f MATCH 'word7 OR word9' ORDER BY bm25(f), rowid LIMIT 5;
SELECT json_extract('{"a":[1,2.5,{"b":"c"}]}', '$.a[2].b'), json_group_array(h % 9) FROM n WHERE i < 20;
SELECT julianday('2026-01-31 12:34:56'), strftime('%Y-%j %H:%M:%f', 2460000.123456), date('2024-02-29', '+1 year');
BEGIN; DELETE FROM n; ROLLBACK;
SELECT count(*), sum(h) FROM n;
VACUUM;
PRAGMA integrity_check;
