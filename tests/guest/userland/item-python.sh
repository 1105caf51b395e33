# Python's own tests of numbers and strings. Their output is kept, without the time they took.
for t in ${PANDA_PYTHON_TESTS:-test_long test_int test_float test_complex test_math test_cmath test_struct test_unicode \
  test_string test_format test_strtod test_binascii test_zlib test_sort test_fractions}; do
  [ -e "/usr/lib/python3.11/test/$t.py" ] || [ -d "/usr/lib/python3.11/test/$t" ] || continue
  python3 -m unittest -v "test.$t" >out.txt 2>&1
  echo "python $t: status $?"
  sed -E 's/^(Ran [0-9]+ tests?) in .*/\1/; s/0x[0-9a-f]{8,}/0xN/g' out.txt >lines.txt
  grep -E '^(Ran |FAILED|OK|FAIL:|ERROR:)' lines.txt
  # Lines of the tests that are well are one digest; of the others, all is shown.
  if grep -qE '^(FAIL|ERROR):' lines.txt; then sed -n '/^=====/,$p' lines.txt; fi
  grep -E ' \.\.\. |^test_' lines.txt | sha256sum
done
