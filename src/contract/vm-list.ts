import { IsBoolean, IsIn, IsString, Matches, MaxLength } from 'class-validator';
import { NodeProblem } from './problem.js';
import { ListOf, NumberedBy, Part, Text, TextLike, Texts, WholeNumber } from './validation/member.decorators.js';
import { Nullable, Optional } from './validation/presence.decorators.js';
import { NodeVmDefinition } from './vm-definition.js';
import { NODE_CHANGE_ID_PROBLEMS, NODE_SOURCES, NODE_VM_STATES, type NodeChangeIdProblem, type NodeSource, type NodeVmState, WITHOUT_NUL } from './words.js';

const MAX_PATH = 4096;

/** Query of GET /api/v1/vms */
export class NodeVmQuery {
  /** Only this VM. */
  @Optional()
  @TextLike(WITHOUT_NUL, 'source_ref must not be empty or contain NUL')
  @MaxLength(MAX_PATH)
  readonly source_ref?: string;

  /** Absent: derived from the form of source_ref. */
  @Optional()
  @IsIn(NODE_SOURCES)
  readonly source?: NodeSource;
}

/** A VM at its source. */
export class NodeSourceVm {
  @IsIn(NODE_SOURCES)
  readonly source!: NodeSource;

  /**
   * The node's name for the VM, which is also its identity: for `image` the absolute path of its folder, for `libvirt` the domain's uuid.
   * @example "/var/lib/sendense/images/pgtest1"
   */
  @IsString()
  @Matches(WITHOUT_NUL, { message: 'source_ref must not be empty or contain NUL' })
  @MaxLength(MAX_PATH)
  readonly source_ref!: string;
}

/** A change id that is no longer valid for a disk. */
export class NodeLostChangeId {
  /** @example "sendense-6f0d2b0e-0193f1de-7c1c-7a2e-8f0c-6d2f8e1b4a5c" */
  @Text()
  readonly change_id!: string;

  @IsIn(NODE_CHANGE_ID_PROBLEMS)
  readonly code!: NodeChangeIdProblem;

  /** @example "The bitmap is gone." */
  @Text()
  readonly detail!: string;
}

export class NodeDisk {
  /** Place in the list, from 0. @example 0 */
  @WholeNumber()
  readonly disk_id!: number;

  /** Stable name of the disk at its source; for `image`, the file name. @example "disk0.qcow2" */
  @Text()
  readonly disk_key!: string;

  /** Virtual size in bytes. @example 2147483648 */
  @WholeNumber()
  readonly size_bytes!: number;

  @IsIn(['qcow2', 'raw'])
  readonly format!: 'qcow2' | 'raw';

  /** @example "/var/lib/sendense/images/pgtest1/disk0.qcow2" */
  @Text()
  readonly path!: string;

  /** True for formats with persistent bitmaps. */
  @IsBoolean()
  readonly change_tracking!: boolean;

  /** Change ids that are currently valid at the source. @example ["sendense-6f0d2b0e-0193f1de-7c1c-7a2e-8f0c-6d2f8e1b4a5c"] */
  @Texts()
  readonly change_ids!: readonly string[];

  /**
   * Change ids that exist but are unreliable, because the image was not closed cleanly while they recorded.
   * @example ["sendense-6f0d2b0e-0193f1de-7c1c-7a2e-8f0c-6d2f8e1b4a5c"]
   */
  @Texts()
  readonly broken_change_ids!: readonly string[];

  /** Why this disk cannot currently be backed up; null if it can. */
  @Nullable()
  @Part(() => NodeProblem)
  readonly problem!: NodeProblem | null;

  /** Known change ids that are no longer valid for this disk, and why. A change id that vanished without a trace is in none of the lists. */
  @Optional()
  @ListOf(() => NodeLostChangeId)
  readonly change_id_problems?: readonly NodeLostChangeId[];
}

/** A device of the VM that its backups exclude. */
export class NodeLeftOutDisk {
  /** @example "sda" */
  @Text()
  readonly disk_key!: string;

  /** For example `cdrom`, `floppy`, `read_only`, `shared`, `passthrough`, `network_disk`. @example "cdrom" */
  @Text()
  readonly reason!: string;

  /** @example "It is a CD-ROM drive." */
  @Text()
  readonly detail!: string;
}

export class NodeVm extends NodeSourceVm {
  /** @example "pgtest1" */
  @Text()
  readonly name!: string;

  @NumberedBy('disk_id')
  @ListOf(() => NodeDisk, { uniqueBy: 'disk_key' })
  readonly disks!: readonly NodeDisk[];

  /** Lower case. Absent if the source has none. @example "ad05c83f-50e3-4a52-a4f4-f1a4b76a9e10" */
  @Optional()
  @Text()
  readonly uuid?: string;

  /** Absent if the source does not know it. */
  @Optional()
  @IsIn(NODE_VM_STATES)
  readonly state?: NodeVmState;

  /** Present only when a single VM was requested and the source has a definition. */
  @Optional()
  @Part(() => NodeVmDefinition)
  readonly definition?: NodeVmDefinition;

  @Optional()
  @ListOf(() => NodeLeftOutDisk)
  readonly left_out_disks?: readonly NodeLeftOutDisk[];
}

/** A source that could not be queried or did not answer in time. */
export class NodeSilentSource extends NodeProblem {
  @IsIn(NODE_SOURCES)
  readonly source!: NodeSource;
}

/** GET /api/v1/vms */
export class NodeVmList {
  @ListOf(() => NodeVm)
  readonly vms!: readonly NodeVm[];

  /** The VMs of these sources are missing. Absent if all answered, and from older nodes. */
  @Optional()
  @ListOf(() => NodeSilentSource)
  readonly silent_sources?: readonly NodeSilentSource[];
}
