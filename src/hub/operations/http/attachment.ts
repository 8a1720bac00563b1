/**
 * `Content-Disposition` of a download (RFC 6266): the name in UTF-8 (RFC 8187) and, for clients that do not support that, in ASCII. No character of a
 * name can leave the header, the quotes, or the folder that a browser saves to.
 */
export function attachment(name: string): string {
  const flat = name
    .toWellFormed()
    .replaceAll(/[\p{Cc}\p{Zl}\p{Zp}/\\]/gu, '_')
    .replace(/^\.{1,2}$/, '_');
  const safe = flat === '' ? 'download' : flat;
  const ascii = safe.replaceAll(/[^\x20-\x7e]|["%]/gu, '_');
  const encoded = encodeURIComponent(safe).replaceAll(/['()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
  return `attachment; filename="${ascii}"; filename*=UTF-8''${encoded}`;
}
