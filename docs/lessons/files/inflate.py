#!/usr/bin/env python3
"""Shows what compressed messages consist of: letters, and copies of what came before. Usage: python3 inflate.py BYTES...

BYTES are the unmasked payload data of a message, in hexadecimal. Give several messages in the order in which they were sent,
each in quotation marks, if later ones refer to earlier ones: python3 inflate.py "f2 48 cd c9 c9 07 00" "f2 00 11 00 00"
"""

import sys


def ranges(value, plain, each, most):
    """Returns the smallest value of each code, and how many further bits say how much is added to it."""
    table = []
    for extra in [0] * plain + [bits for bits in range(1, most + 1) for _ in range(each)]:
        table.append((value, extra))
        value += 1 << extra
    return table


# RFC 1951 3.2.5: how long a copy is, and how far back what it copies begins.
LENGTHS = ranges(3, 8, 4, 5) + [(258, 0)]
DISTANCES = ranges(1, 4, 2, 13)


def huffman(lengths):
    """Returns the symbols by length and code. Shorter codes come first, and equally long ones are counted up (RFC 1951 3.2.2)."""
    table, code = {}, 0
    for length in range(1, 16):
        for symbol, its in enumerate(lengths):
            if its == length:
                table[length, code] = symbol
                code += 1
        code <<= 1
    return table


# RFC 1951 3.2.6: the codes that nobody has to transmit.
FIXED = huffman([8] * 144 + [9] * 112 + [7] * 24 + [8] * 8), huffman([5] * 30)


class Bits:
    """Reads bits, the lowest one of each byte first."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self, count):
        value = 0
        for index in range(count):
            value |= (self.data[self.at // 8] >> self.at % 8 & 1) << index
            self.at += 1
        return value

    def symbol(self, table):
        length = code = 0
        while (length, code) not in table:
            length, code = length + 1, code << 1 | self.number(1)
        return table[length, code]

    def tables(self):
        """Reads the codes of a block that brings its own (RFC 1951 3.2.7)."""
        literals, distances, count = self.number(5) + 257, self.number(5) + 1, self.number(4) + 4
        lengths = [0] * 19
        for place in (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)[:count]:
            lengths[place] = self.number(3)
        table, found = huffman(lengths), []
        while len(found) < literals + distances:
            symbol = self.symbol(table)
            if symbol < 16:
                found.append(symbol)
            elif symbol == 16:
                found += found[-1:] * (3 + self.number(2))
            else:
                found += [0] * (3 + self.number(3) if symbol == 17 else 11 + self.number(7))
        return huffman(found[:literals]), huffman(found[literals:])


def pieces(data, before=b""):
    """Yields the pieces of a message, each with how far back it was copied from, or 0. `before` is what earlier messages said."""
    bits, text = Bits(data + bytes.fromhex("00 00 ff ff")), bytearray(before)
    is_last = False
    # What remains after the last block are fewer bits than the header of another one.
    while not is_last and bits.at + 3 < 8 * len(bits.data):
        is_last, kind = bits.number(1), bits.number(2)
        if kind == 0:
            # Not compressed: a length of two bytes, its complement, and the bytes themselves.
            start = (bits.at + 7) // 8 + 4
            length = bits.data[start - 4] | bits.data[start - 3] << 8
            bits.at = 8 * (start + length)
            text += bits.data[start : start + length]
            if length:
                yield bits.data[start : start + length], 0
            continue
        literals, distances = FIXED if kind == 1 else bits.tables()
        while (symbol := bits.symbol(literals)) != 256:
            if symbol < 256:
                text.append(symbol)
                yield bytes([symbol]), 0
                continue
            length, extra = LENGTHS[symbol - 257]
            length += bits.number(extra)
            distance, extra = DISTANCES[bits.symbol(distances)]
            distance += bits.number(extra)
            # Byte by byte: a copy may reach into itself.
            for _ in range(length):
                text.append(text[-distance])
            yield bytes(text[-length:]), distance


def rows(data, before=b""):
    """Returns the pieces, with letters that follow each other joined."""
    joined = []
    for piece, distance in pieces(data, before):
        if joined and not distance and not joined[-1][1]:
            joined[-1] = joined[-1][0] + piece, 0
        else:
            joined.append((piece, distance))
    return joined


def main():
    try:
        messages = [bytes.fromhex(argument) for argument in sys.argv[1:]]
    except ValueError:
        messages = []
    if not messages:
        sys.exit(__doc__)
    before = b""
    for message in messages:
        found = rows(message, before)
        text = b"".join(piece for piece, _ in found)
        print(f"{len(message)} bytes say {len(text)}:")
        for piece, distance in found:
            shown = piece.decode(errors="backslashreplace")
            print(f"  {f'copy {len(piece):3} from {distance:3} back' if distance else 'letters':22} {shown!r}")
        before += text


if __name__ == "__main__":
    try:
        main()
    except (IndexError, KeyError):
        sys.exit("this is not in the format of permessage-deflate, or an earlier message is missing")
