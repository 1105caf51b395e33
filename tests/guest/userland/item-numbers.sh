# Numbers that would show a wrong bit, in Python.
python3 /battery/wrong_bits.py
echo "numbers: status $?"
