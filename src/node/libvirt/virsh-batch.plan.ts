import { LibvirtError, libvirtErrorCode } from './libvirt-error.js';

/** What virsh printed for one command, or why libvirt refused it. */
export type Answer = { readonly text: string } | { readonly error: LibvirtError };

/**
 * One argument for virsh that holds several commands: it takes a single argument apart as a shell would, at `;` and by quotes
 * (https://libvirt.org/manpages/virsh.html). After each command the separator is printed to both outputs.
 * @param separator nothing that any command could print
 */
export function batchText(commands: readonly (readonly string[])[], separator: string): string {
  return commands.map((words) => `${words.map(quoted).join(' ')}; echo ${separator}; echo --err ${separator}`).join('; ');
}

/** Between single quotes virsh takes everything as it is but the single quote. */
function quoted(word: string): string {
  return /^[A-Za-z0-9_./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** The answers of those commands that virsh came to, in order. */
export function splitBatch(said: { readonly stdout: string; readonly stderr: string }, separator: string): readonly Answer[] {
  const texts = said.stdout.split(separator).slice(0, -1);
  const complaints = said.stderr.split(`error: ${separator}\n`).slice(0, -1);
  return texts.slice(0, complaints.length).map((text, index) => {
    const complaint = complaints[index] ?? '';
    // Warnings are no refusals.
    if (!/^error: /m.test(complaint)) return { text };
    const words = complaint.trim().replace(/^error: /gm, '');
    return { error: new LibvirtError(libvirtErrorCode(words), words) };
  });
}
