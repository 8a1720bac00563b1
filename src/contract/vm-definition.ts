import { IsIn } from 'class-validator';
import { NodeProblem } from './problem.js';
import { Text, TextLike, WholeNumber } from './validation/member.decorators.js';
import { Optional } from './validation/presence.decorators.js';
import { HEX_32_BYTES } from './words.js';

const MAX_DEFINITION = 512 * 1024;
/** Name of a disk's target device in a domain. */
const TARGET = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;
/** Its beginning cannot be mistaken for an option or another protocol in an argv. */
const NBD_URI = /^nbds?:\/\/[^/\s]+:\d{1,5}\/[^\s]{0,1000}$/;

/** The hypervisor's own description of the VM: everything needed to recreate it, without secrets. */
export class NodeVmDefinition {
  /** `libvirt-domain-xml`: as printed by `virsh dumpxml --inactive` without `--security-info`. */
  @IsIn(['libvirt-domain-xml'])
  readonly format!: 'libvirt-domain-xml';

  /** @example "<domain/>" */
  @Text()
  readonly text!: string;
}

/** A definition that the hub sends back, to make a VM of it. */
export class NodeRestoredDefinition extends NodeVmDefinition {
  /** @example "<domain/>" */
  @Text({ max: MAX_DEFINITION })
  override readonly text!: string;
}

/** A part of a definition that had to be changed. */
export class NodeDefinitionChange extends NodeProblem {}

/** A disk of a restore point, served by the hub. */
export class NodeServedDisk {
  /** @example "vda" */
  @TextLike(TARGET, 'disk_key must be the name of a target device')
  readonly disk_key!: string;

  /** @example 2147483648 */
  @WholeNumber(1)
  readonly size_bytes!: number;

  /**
   * NBD URI of the content: nbds if the port uses TLS with the disk's export_key only
   * @example "nbds://192.0.2.10:10100/restore-pgtest1-disk0-0e5b7a41"
   */
  @TextLike(NBD_URI, 'uri must be an nbd:// or nbds:// URI')
  readonly uri!: string;

  /** As in NodeStartBackup @example "0000000000000000000000000000000000000000000000000000000000000000" */
  @Optional()
  @TextLike(HEX_32_BYTES, 'export_key must be 64 hexadecimal digits')
  readonly export_key?: string;
}
