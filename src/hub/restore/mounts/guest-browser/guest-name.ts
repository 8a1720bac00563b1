/**
 * Names in a guest's file system are bytes. Inside the browser they are strings with one character per byte (latin1), which is lossless. Outside they are
 * UTF-8 if the bytes are valid UTF-8, and percent-encoded otherwise.
 */
export type NameEncoding = 'utf-8' | 'percent';

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The name as UTF-8 text; null when its bytes are not valid UTF-8. */
export function utf8Of(name: string): string | null {
  // Almost all names are ASCII, which is the same in both.
  if (/^[\0-\x7f]*$/.test(name)) return name;
  try {
    return UTF8.decode(Buffer.from(name, 'latin1'));
  } catch {
    return null;
  }
}

/** Several names or paths under one encoding: UTF-8 when all of them are, otherwise all percent-encoded. null stays null. */
export function encodeNames<Names extends readonly (string | null)[]>(
  names: readonly [...Names],
): { readonly encoding: NameEncoding; readonly texts: { readonly [I in keyof Names]: Names[I] } } {
  const texts = names.map((name) => (name === null ? null : utf8Of(name)));
  const valid = texts.every((text, index) => text !== null || names[index] === null);
  const encoded = valid ? texts : names.map((name) => (name === null ? null : percentEncode(name)));
  // A text becomes a text and null stays null, member by member.
  return { encoding: valid ? 'utf-8' : 'percent', texts: encoded as unknown as { readonly [I in keyof Names]: Names[I] } };
}

/** Every byte that is not part of valid UTF-8, every `%` and every control character as `%XX`; reversible. */
export function percentEncode(name: string): string {
  const bytes = Buffer.from(name, 'latin1');
  let text = '';
  for (let index = 0; index < bytes.length;) {
    const length = sequenceLength(bytes, index);
    const first = bytes[index] ?? 0;
    if (length === 0 || first === 0x25 || first < 0x20 || first === 0x7f) {
      text += `%${first.toString(16).toUpperCase().padStart(2, '0')}`;
      index += 1;
    } else {
      text += bytes.toString('utf8', index, index + length);
      index += length;
    }
  }
  return text;
}

/** The inverse. @returns null when a `%` is not followed by two hex digits */
export function bytesOf(text: string, encoding: NameEncoding): string | null {
  const utf8 = Buffer.from(text, 'utf8').toString('latin1');
  if (encoding === 'utf-8') return utf8;
  if (/%(?![0-9a-fA-F]{2})/.test(utf8)) return null;
  return utf8.replaceAll(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

/** Bytes of the well-formed UTF-8 character at `index`; 0 when there is none. */
function sequenceLength(bytes: Buffer, index: number): number {
  const first = bytes[index] ?? 0;
  const length = first < 0x80 ? 1 : first >= 0xc2 && first <= 0xdf ? 2 : first >= 0xe0 && first <= 0xef ? 3 : first >= 0xf0 && first <= 0xf4 ? 4 : 0;
  if (length <= 1) return length;
  try {
    UTF8.decode(bytes.subarray(index, index + length));
    return index + length <= bytes.length ? length : 0;
  } catch {
    return 0;
  }
}
