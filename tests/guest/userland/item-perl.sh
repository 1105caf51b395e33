# perl: numbers, strings, patterns, sorting, packing, big integers.
perl /battery/numbers.pl
echo "perl: status $?"
