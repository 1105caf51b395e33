"""Numbers that would show a wrong bit: large integers, floats of every size, decimal, libm."""
import cmath, decimal, fractions, hashlib, math, random, struct, zlib

rng = random.Random(20260101)


def digest(name, values):
    text = "\n".join(map(repr, values))
    print(name, len(text), hashlib.sha256(text.encode()).hexdigest(), format(zlib.crc32(text.encode()), "08x"))


def floats(n):
    for _ in range(n):
        yield struct.unpack("<d", struct.pack("<Q", rng.getrandbits(64)))[0]


big = [rng.getrandbits(rng.choice((31, 64, 65, 400, 3000))) - (1 << 30) for _ in range(400)]
digest("integers", [(a * b, a // (b or 1), a % (b or 1), a & b, a ^ b, a << (b & 63), math.isqrt(abs(a))) for a, b in zip(big, big[1:])])
digest("powers", [pow(a, abs(b) % 99, (1 << 521) - 1) for a, b in zip(big, big[1:])])
values = [f for f in floats(3000) if f == f]
digest("float text", values)
digest("float hex", [f.hex() for f in values])
digest("float parts", [(math.frexp(f), math.modf(f)) for f in values])
digest("float arithmetic", [(a + b, a - b, a * b, a / b if b else 0.0) for a, b in zip(values, values[1:])])
digest("float to float32", [struct.pack("<f", math.fmod(f, 1e30)) for f in values if abs(f) < 1e300])
digest("rounding", [round(math.fmod(f, 1e6), n) for f in values if abs(f) < 1e300 for n in (0, 1, 3)])
# Eleven digits of libm: on i386 it is the x87, whose last bit differs between CPU makers.
def shown(x):
    return format(x, ".11g")


small = [rng.uniform(-50, 50) for _ in range(1500)]
for f in (math.sin, math.cos, math.tan, math.atan, math.sinh, math.asinh, math.exp, math.expm1, math.erf, math.erfc, math.floor,
          math.ceil, math.trunc):
    digest(f.__name__, [shown(f(x)) for x in small])
for f in (math.log, math.log2, math.log10, math.log1p, math.sqrt, math.cbrt, math.lgamma, math.gamma):
    digest(f.__name__, [shown(f(abs(x) + 0.001)) for x in small])
digest("pow", [shown(math.pow(abs(a), b / 10)) for a, b in zip(small, small[1:])])
digest("hypot", [math.hypot(a, b) for a, b in zip(small, small[1:])])
digest("fsum", [math.fsum(small[:n]) for n in range(0, 1500, 50)])
digest("complex", [shown(cmath.exp(complex(a, b)) * cmath.sqrt(complex(b, a))) for a, b in zip(small, small[1:])])
digest("fractions", [fractions.Fraction(a) + fractions.Fraction(b) for a, b in zip(small[:100], small[1:])])
decimal.getcontext().prec = 200
digest("decimal", [(decimal.Decimal(a) / decimal.Decimal(b), decimal.Decimal(abs(a)).sqrt(), (decimal.Decimal(a) / 9).exp()) for a, b in zip(small[:60], small[1:])])
digest("random", [shown(rng.gauss(0, 1)) for _ in range(500)] + [shown(rng.betavariate(2, 3)) for _ in range(200)])
text = "".join(chr(rng.choice((rng.randrange(32, 127), rng.randrange(0xA0, 0x2000), rng.randrange(0x1F300, 0x1F600)))) for _ in range(20000))
digest("text", [text.upper(), text.casefold(), text.encode("utf-8"), text.encode("utf-16"), sorted(text.split(" ")), text[::-1].find("e")])
