# openssl: digests, ciphers and signatures of known data, with known keys; speed, of which the names count.
python3 -c 'import sys
x = 1
data = bytearray()
for _ in range(20003):
    x = (x * 6364136223846793005 + 1442695040888963407) & (2**64 - 1)
    data.append(x >> 56)
sys.stdout.buffer.write(data)' >data
sha256sum data
for d in md5 sha1 sha224 sha256 sha384 sha512 sha512-256 sha3-224 sha3-256 sha3-512 shake128 shake256 blake2b512 blake2s256 \
  ripemd160 sm3; do
  echo "$d $(openssl dgst "-$d" data)"
done
key=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
iv=f0e0d0c0b0a090807060504030201000
for c in $(openssl enc -list | tr ' ' '\n' | sed -n 's/^-\([a-z0-9-]*\)$/\1/p' | grep -vE 'wrap|gcm|ccm|xts|ocb|siv|^(bf|cast|des|rc2|rc4|seed|idea|blowfish|desx)(-|$|[0-9])'); do
  openssl enc "-$c" -K $key -iv $iv -in data -out enc 2>errors || { echo "$c: $(head -n 1 errors | sed 's/^[0-9A-F]*://')"; continue; }
  openssl enc -d "-$c" -K $key -iv $iv -in enc -out dec 2>/dev/null
  cmp data dec && echo "$c $(sha256sum <enc)"
done
openssl dgst -mac HMAC -macopt key:secret -sha256 data
openssl enc -aes-256-cbc -pbkdf2 -iter 20000 -S 0102030405060708 -k password -in data | sha256sum
openssl kdf -keylen 32 -kdfopt pass:password -kdfopt salt:salt -kdfopt n:1024 -kdfopt r:8 -kdfopt p:2 SCRYPT
# A key from known bits makes a known signature.
printf '302e020100300506032b657004220420%s' $key | perl -pe 's/([0-9a-f]{2})/chr hex $1/ge' >ed25519.der
openssl pkey -inform DER -in ed25519.der -out ed25519.pem
head -c 1000 data >short
openssl pkeyutl -sign -rawin -inkey ed25519.pem -in short | sha256sum
printf '302e020100300506032b656e04220420%s' $key | perl -pe 's/([0-9a-f]{2})/chr hex $1/ge' >x25519.der
openssl pkey -inform DER -in x25519.der -out x25519.pem
openssl pkey -in x25519.pem -pubout -out x25519.pub
openssl pkeyutl -derive -inkey x25519.pem -peerkey x25519.pub | sha256sum
openssl pkey -in /battery/rsa.pem -check -noout
openssl dgst -sha256 -sign /battery/rsa.pem data | sha256sum
# Keys of its own: what it makes must fit together.
for curve in prime256v1 secp384r1 secp256k1; do
  openssl ecparam -name $curve -genkey -noout -out ec.pem
  openssl ec -in ec.pem -pubout -out ec.pub 2>/dev/null
  openssl dgst -sha256 -sign ec.pem -out signature data
  openssl dgst -sha256 -verify ec.pub -signature signature data
done
openssl genrsa -out own.pem 1024 2>/dev/null
openssl rsa -in own.pem -check -noout
openssl prime -hex FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF000000000000000000000001
openssl prime 170141183460469231731687303715884105727
for s in sha256 aes-128-cbc; do
  openssl speed -seconds 1 -bytes 1024 $s >speed 2>speed-errors
  echo "speed $s: status $?"
  sed -n "s/^\($s\) .*k *$/\1/Ip" speed
done
