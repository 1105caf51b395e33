# gcc compiles a program at several levels; the assembly it makes, the programs and what they print.
for how in -O0 -O2 "-O3 -funroll-loops" "-O2 -ffast-math -mfpmath=387" "-Os -ftrapv -fstack-protector-all"; do
  gcc $how -D_GNU_SOURCE -S -o program.s /battery/program.c &&
    gcc $how -D_GNU_SOURCE -o program /battery/program.c -lm &&
    sha256sum program.s program && ./program
  echo "gcc $how: status $?"
done
# The compiler under load: a large generated source.
perl /battery/generate.pl 40 >large.c
sha256sum large.c
gcc -O2 -o large large.c && sha256sum large && ./large
echo "gcc large: status $?"
objdump -d large | sha256sum
