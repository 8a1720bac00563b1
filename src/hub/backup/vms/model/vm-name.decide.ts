import { DomainError } from '../../../../kernel/domain-error.js';

export const MAX_VM_NAME_CHARACTERS = 128;
/** The limit of common file systems for one name. */
export const MAX_VM_NAME_BYTES = 255;

export type VmNameRule = 'length' | 'bytes' | 'slashes' | 'dots' | 'control_characters' | 'broken_unicode' | 'outer_spaces' | 'shell_metacharacters';

/** A VM's name becomes a folder name and reaches terminals and shell scripts. Spaces and all writing systems are allowed. */
const RULES: readonly { readonly rule: VmNameRule; readonly sentence: string; readonly breaks: (name: string) => boolean }[] = [
  {
    rule: 'length',
    sentence: `must be 1 to ${MAX_VM_NAME_CHARACTERS} characters long`,
    breaks: (name) => name === '' || Array.from(name).length > MAX_VM_NAME_CHARACTERS,
  },
  { rule: 'broken_unicode', sentence: 'must be valid Unicode, without unpaired surrogates', breaks: (name) => !name.isWellFormed() },
  { rule: 'bytes', sentence: `must be at most ${MAX_VM_NAME_BYTES} bytes long in UTF-8`, breaks: (name) => utf8Length(name) > MAX_VM_NAME_BYTES },
  {
    rule: 'control_characters',
    sentence: 'must not contain control characters, such as NUL and line breaks',
    breaks: (name) => /[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/u.test(name),
  },
  { rule: 'slashes', sentence: 'must not contain slashes or backslashes', breaks: (name) => /[/\\]/.test(name) },
  { rule: 'dots', sentence: 'must not be "." or ".."', breaks: (name) => name === '.' || name === '..' },
  { rule: 'outer_spaces', sentence: 'must not begin or end with a space', breaks: (name) => name !== name.trim() },
  {
    rule: 'shell_metacharacters',
    sentence: 'must not contain any of the shell metacharacters ; | & $ ` < > " \' * ? !',
    breaks: (name) => /[;|&$`<>"'*?!]/.test(name),
  },
];

/** The first rule that a name breaks; null for a valid name. */
export function brokenVmNameRule(name: string): { readonly rule: VmNameRule; readonly sentence: string } | null {
  return RULES.find(({ breaks }) => breaks(name)) ?? null;
}

/** @throws DomainError `vm_name_invalid` with the rule in its facts */
export function requireLegalVmName(name: string): void {
  const broken = brokenVmNameRule(name);
  if (broken === null) return;
  throw new DomainError('invalid', 'vm_name_invalid', `The name of a VM ${broken.sentence}.`, { field: 'name', rule: broken.rule });
}

function utf8Length(text: string): number {
  let bytes = 0;
  for (const character of text) {
    const codePoint = character.codePointAt(0) ?? 0;
    bytes += codePoint < 0x80 ? 1 : codePoint < 0x800 ? 2 : codePoint < 0x10000 ? 3 : 4;
  }
  return bytes;
}
