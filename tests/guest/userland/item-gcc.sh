# gcc compiles a program at several levels; the assembly it makes, the programs and what they print.
for how in -O0 -O2 "-O2 -ffast-math -mfpmath=387 -funroll-loops"; do
  gcc $how -D_GNU_SOURCE -save-temps -o program /battery/program.c -lm && sha256sum ./*program.s program && ./program
  echo "gcc $how: status $?"
done
# The compiler under load: a generated source.
perl /battery/generate.pl 20 >large.c
sha256sum large.c
gcc -O2 -o large large.c && sha256sum large && ./large
echo "gcc large: status $?"
objdump -d large | sha256sum
