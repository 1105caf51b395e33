# Python's own tests of numbers and strings. Their output is kept, without the time they took.
for t in test_long test_int test_float test_complex test_math test_cmath test_fractions test_decimal test_numeric_tower \
  test_struct test_array test_bytes test_unicode test_str test_string test_format test_fstring test_strtod test_hash \
  test_codecs test_re test_hashlib test_zlib test_binascii test_json test_statistics test_random test_bisect \
  test_heapq test_sort test_set test_dict test_ucn test_textwrap; do
  [ -e "/usr/lib/python3.11/test/$t.py" ] || [ -d "/usr/lib/python3.11/test/$t" ] || continue
  python3 -m unittest -v "test.$t" >out.txt 2>&1
  echo "python $t: status $?"
  sed -E 's/^(Ran [0-9]+ tests?) in .*/\1/; s/0x[0-9a-f]{8,}/0xN/g' out.txt >lines.txt
  grep -E '^(Ran |FAILED|OK|FAIL:|ERROR:)' lines.txt
  # Lines of the tests that are well are one digest; of the others, all is shown.
  if grep -qE '^(FAIL|ERROR):' lines.txt; then sed -n '/^=====/,$p' lines.txt; fi
  grep -E ' \.\.\. |^test_' lines.txt | sha256sum
done
