# gzip, bzip2, xz and zstd there and back, each packed file itself compared too.
perl -e 'my $s = 7; for my $i (1 .. 60000) { $s = ($s * 1103515245 + 12345) & 0x7fffffff;
  print $i % 5 ? substr("the quick brown fox jumps over a lazy dog ", ($s >> 8) % 40, 9) : pack("N", $s); }' >noise
tar --sort=name --mtime=@0 --owner=0 --group=0 -cf tree.tar -C / battery usr/lib/python3.11/json
cat noise tree.tar /usr/bin/gzip /usr/bin/sqlite3 >data
cat noise /battery/* | sha256sum
for tool in "gzip -1n" "gzip -9n" "bzip2 -9" "xz -0 -T1" "xz -6 -T1" "xz --x86 --lzma2=preset=1 -T1" "zstd -q -3 --single-thread"; do
  $tool -c data >packed
  sha256sum <packed
  ${tool%% *} -dc <packed >back
  cmp data back && echo "$tool: there and back"
done
sha1sum data
md5sum data
b2sum data
cksum data
