import { LibvirtError, libvirtErrorCode } from './libvirt-error.js';

/** Output of one command, or libvirt's refusal. */
export type Answer = { readonly text: string } | { readonly error: LibvirtError };

/**
 * Joins several commands into one argument for virsh, which parses a single argument as a shell would, by `;` and quotes
 * (https://libvirt.org/manpages/virsh.html). After each command the separator is printed to both outputs.
 * @param separator a text that no command can print
 */
export function batchText(commands: readonly (readonly string[])[], separator: string): string {
  return commands.map((words) => `${words.map(quoted).join(' ')}; echo ${separator}; echo --err ${separator}`).join('; ');
}

/** Within single quotes virsh treats every character literally, except the single quote. */
function quoted(word: string): string {
  return /^[A-Za-z0-9_./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** The answers of the commands that virsh reached, in order. */
export function splitBatch(said: { readonly stdout: string; readonly stderr: string }, separator: string): readonly Answer[] {
  const texts = said.stdout.split(separator).slice(0, -1);
  const complaints = said.stderr.split(`error: ${separator}\n`).slice(0, -1);
  return texts.slice(0, complaints.length).map((text, index) => {
    const complaint = complaints[index] ?? '';
    // Warnings are not refusals.
    if (!/^error: /m.test(complaint)) return { text };
    const words = complaint.trim().replace(/^error: /gm, '');
    return { error: new LibvirtError(libvirtErrorCode(words), words) };
  });
}
