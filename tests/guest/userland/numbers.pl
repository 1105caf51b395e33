# Prints digests and samples of what perl computes.
use strict;
use warnings;
use utf8;
use Digest::MD5 qw(md5_hex);
use Digest::SHA qw(sha1_hex sha256_hex sha512_hex);
use Encode qw(encode decode);
use List::Util qw(sum reduce shuffle max min);
use MIME::Base64;
use Math::BigFloat;
use Math::BigInt;
use POSIX qw(floor ceil fmod strtod);
use Storable qw(freeze thaw);
use Time::Local;

my $seed = 42;
sub pick { $seed = ($seed * 1103515245 + 12345) & 0x7fffffff; return $seed / 0x80000000; }
sub show { my ($name, @values) = @_; print "$name ", scalar(@values), ' ', md5_hex(encode('UTF-8', join("\n", @values))), "\n"; }

my @numbers = map { (pick() - 0.5) * 10**int(pick() * 40 - 20) } 1 .. 4000;
show('text of numbers', @numbers);
show('formats', map { sprintf('%.17g %e %10.3f %d %x', $_, $_, fmod($_, 1e6), fmod($_, 1e6), abs(int(fmod($_, 1e6)))) } @numbers);
show('arithmetic', map { $_ * 3 + 1 / $_ - sqrt(abs $_) } @numbers);
# Eleven digits: on i386 libm is the x87, whose last bit differs between CPU makers.
show('libm', map { sprintf '%.11g', $_ } map { my $x = fmod($_, 100); (sin $x, cos $x, atan2($x, 2), exp($x / 10), log(abs($x) + 1)) } @numbers);
show('integers', map { my $n = int(pick() * 2**31); ($n << 3, $n >> 5, $n ^ 0x5a5a5a5a, $n % 997, int($n / 7), ~$n & 0xffffffff) } 1 .. 3000);
show('sorted', sort { $a <=> $b } @numbers);
my @words = map { join '', map { chr(97 + int(pick() * 26)) } 1 .. 3 + int(pick() * 8) } 1 .. 8000;
show('sorted words', sort @words);
my %seen;
$seen{$_}++ for map { substr $_, 0, 2 } @words;
show('counts', map { "$_=$seen{$_}" } sort keys %seen);
my $text = join ' ', @words;
show('patterns', $text =~ /\b([a-m]+)([n-z]+)\b/g);
(my $changed = $text) =~ s/(\w)(\w+)/\U$2\E$1/g;
show('substituted', $changed);
(my $turned = $text) =~ tr/a-zA-Z/n-za-mN-ZA-M/;
show('tr', $turned, scalar reverse $turned);
show('backtracking', map { /^(a|b|ab)*(c|bcd)(d*)$/ ? "$1,$2,$3" : 'no' } qw(abcd ababcd abababbcddd aab));
show('unicode', map { lc, uc, ucfirst } "straße ÄÖÜ ǅ ὈΔΥΣΣΕΎΣ \x{1F600}");
show('packed', map { unpack 'H*', pack('d< f> l> s< w N/a*', $_, $_, int(fmod($_, 1e9)), int(fmod($_, 3e4)), abs(int(fmod($_, 1e9))), 'text') } @numbers[0 .. 500]);
show('base64', encode_base64($text), decode_base64(encode_base64($text)));
show('sha', sha1_hex($text), sha256_hex($text), sha512_hex($text));
print 'factorial ', md5_hex(Math::BigInt->new(300)->bfac()->bstr()), "\n";
print 'modular power ', Math::BigInt->new('123456789012345678901234567890')->bmodpow('98765432109876543210', '1000000000000000000000007'), "\n";
print 'square root of two ', Math::BigFloat->new(2)->bsqrt(80), "\n";
print 'pi ', Math::BigFloat->bpi(100), "\n";
show('dates', map { scalar gmtime(int($_ * 86400 * 377)) } 0 .. 60);
show('storable', map { ref($_) ? @$_ : $_ } @{thaw(freeze([[@words[0 .. 50]], 1.5, 'x']))});
sub fib { my $n = shift; return $n < 2 ? $n : fib($n - 1) + fib($n - 2); }
print 'fib ', fib(20), "\n";
my $count = 0;
for my $i (1 .. 300000) { $count += ($i * $i) % 7; }
print "loop $count\n";
printf "%s %s %s\n", 9**20, 2**0.5, -7 % 3;
print join(' ', 0.1 + 0.2, 1e308 * 10, -(1e308 * 10), 1 / 3, 1e21, 123456789012345678), "\n";
my $pid = fork;
if (!$pid) { exit 7; }
waitpid $pid, 0;
print 'child ', $? >> 8, "\n";
local $SIG{ALRM} = sub { die "alarm\n" };
eval { alarm 1; 1 while 1; };
print "signal $@";
