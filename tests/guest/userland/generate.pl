# Prints a C program of so many random functions, and a main() that prints what they compute.
use strict;
use warnings;
my $count = shift;
my $seed = 12345;
sub pick { $seed = ($seed * 1103515245 + 12345) & 0x7fffffff; return ($seed >> 8) % $_[0]; }
my @types = ('int8_t', 'uint16_t', 'int32_t', 'uint32_t', 'int64_t', 'uint64_t', 'float', 'double');
my @ops = ('+', '-', '*', '^', '&', '|', '/', '%', '<<', '>>');
print "#include <stdint.h>\n#include <stdio.h>\n";
for my $n (0 .. $count - 1) {
  my $type = $types[pick(6)];
  my $real = $types[6 + pick(2)];
  print "static $type f$n(uint64_t a, int32_t b, const $type *p) {\n  uint64_t x = a; $real r = ($real)b;\n";
  for (1 .. 6 + pick(10)) {
    my $op = $ops[pick(10)];
    my $what = ('a', '(uint64_t)b', 'p[x & 7]', pick(1000) . 'u', 'x')[pick(5)];
    $what = "(($what & 1023) + 1)" if $op =~ m,[/%],;
    $what = "($what & 31)" if $op =~ /<<|>>/;
    print "  for (int i = 0; i < ", 1 + pick(9), "; ++i) x = x $op (uint64_t)$what;\n" if pick(3) == 0;
    print "  if ((int32_t)x > (int32_t)", pick(100000), ") x = x $op (uint64_t)$what; else r = r * ($real)0.75 + ($real)(int32_t)x;\n";
  }
  print "  return ($type)(x ^ (uint64_t)(int64_t)((double)r / 4294967296.0));\n}\n";
  print "static $type t$n\[8] = {", join(', ', map { pick(120) } 1 .. 8), "};\n";
}
print "int main(void) {\n  uint64_t h = 1;\n  for (int i = 0; i < 50; ++i) {\n";
print "    h = h * 31 + (uint64_t)f$_(h, (int32_t)(h >> 7) + i, t$_);\n" for 0 .. $count - 1;
print "  }\n  printf(\"%016llx\\n\", (unsigned long long)h);\n  return 0;\n}\n";
