import { plainToInstance } from 'class-transformer';
import { validateSync, type ValidationError } from 'class-validator';
import { NodeJobReportDto } from '../../../contract/job-report.dto.js';
import {
  NODE_CHANGE_ID_PROBLEMS,
  NODE_SOURCES,
  NODE_VM_STATES,
  type NodeChangeIds,
  type NodeChangeIdsRemoved,
  type NodeDisk,
  type NodeHealth,
  type NodeVmProblem,
  type NodeJobReport,
  type NodeLeftOutDisk,
  type NodePreparedKeys,
  type NodeTunnelPortsTaken,
  type NodeVm,
  type NodeVmDefinition,
  type NodeVmList,
} from '../../../contract/node-api.js';
import { flag, listOf, matching, object, oneOf, orNull, text, time, wholeNumber, WrongShapeError, wrong } from '../../../lib/json-shape/json-shape.js';

// Each function parses one answer of a node. Unknown members are ignored, so that a newer node can talk to an older hub.
// All throw WrongShapeError, which names the member and the problem.

const nodeId = matching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'a node id of 1 to 64 letters, digits, dots, dashes or underscores');

export function parseHealth(answer: unknown): NodeHealth {
  const health = object(answer, 'the answer');
  return {
    status: oneOf('ok')(health['status'], 'status'),
    node_id: nodeId(health['node_id'], 'node_id'),
    version: text(health['version'], 'version'),
    time: time(health['time'], 'time'),
    active_jobs: wholeNumber(health['active_jobs'], 'active_jobs'),
    ...(health['findings'] === undefined ? {} : { findings: text(health['findings'], 'findings') }),
  };
}

export function parseVmList(answer: unknown): NodeVmList {
  const silent = (value: unknown, where: string): NonNullable<NodeVmList['silent_sources']>[number] => {
    const members = object(value, where);
    return {
      source: oneOf(...NODE_SOURCES)(members['source'], `${where}.source`),
      code: text(members['code'], `${where}.code`),
      detail: text(members['detail'], `${where}.detail`),
    };
  };
  const { vms, silent_sources: silentSources } = object(answer, 'the answer');
  return { vms: listOf(parseVm)(vms, 'vms'), ...(silentSources === undefined ? {} : { silent_sources: listOf(silent)(silentSources, 'silent_sources') }) };
}

export function parseJobReport(answer: unknown): NodeJobReport {
  const report = plainToInstance(NodeJobReportDto, object(answer, 'the answer'));
  const broken = firstBroken(validateSync(report, { stopAtFirstError: true }), '');
  if (broken !== null) throw new WrongShapeError(broken);
  return report;
}

export function parseChangeIds(answer: unknown): NodeChangeIds {
  const vm = (value: unknown, where: string): NodeChangeIds['vms'][number] => {
    const members = object(value, where);
    return {
      source: oneOf(...NODE_SOURCES)(members['source'], `${where}.source`),
      source_ref: text(members['source_ref'], `${where}.source_ref`),
      name: text(members['name'], `${where}.name`),
      change_ids: listOf(text)(members['change_ids'], `${where}.change_ids`),
    };
  };
  const problem = (value: unknown, where: string): NodeVmProblem => {
    const members = object(value, where);
    return {
      source: oneOf(...NODE_SOURCES)(members['source'], `${where}.source`),
      source_ref: text(members['source_ref'], `${where}.source_ref`),
      code: text(members['code'], `${where}.code`),
      detail: text(members['detail'], `${where}.detail`),
    };
  };
  const { vms, swept, vm_problems: problems } = object(answer, 'the answer');
  return {
    vms: listOf(vm)(vms, 'vms'),
    swept: listOf(text)(swept, 'swept'),
    ...(problems === undefined ? {} : { vm_problems: listOf(problem)(problems, 'vm_problems') }),
  };
}

export function parseChangeIdsRemoved(answer: unknown): NodeChangeIdsRemoved {
  const one = (value: unknown, where: string): NodeChangeIdsRemoved['removed'][number] => {
    const members = object(value, where);
    return {
      source: oneOf(...NODE_SOURCES)(members['source'], `${where}.source`),
      source_ref: text(members['source_ref'], `${where}.source_ref`),
      change_id: text(members['change_id'], `${where}.change_id`),
    };
  };
  return { removed: listOf(one)(object(answer, 'the answer')['removed'], 'removed') };
}

const publicKey = matching(/^ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI[A-Za-z0-9+/]{43}$/, 'an Ed25519 public key');
const nodeToken = matching(/^[A-Za-z0-9_-]{43,128}$/, 'a token');

export function parsePreparedKeys(answer: unknown): NodePreparedKeys {
  const keys = object(answer, 'the answer');
  return {
    rotation_id: text(keys['rotation_id'], 'rotation_id'),
    public_key: publicKey(keys['public_key'], 'public_key'),
    token: secret(nodeToken)(keys['token'], 'token'),
  };
}

export function parseTunnelPortsTaken(answer: unknown): NodeTunnelPortsTaken {
  return { changed: flag(object(answer, 'the answer')['changed'], 'changed') };
}

export function parseActivating(answer: unknown): void {
  if (object(answer, 'the answer')['activating'] !== true) throw new WrongShapeError('activating must be true');
}

/** Keeps the value of a secret out of the error message. */
function secret(reader: (value: unknown, where: string) => string): (value: unknown, where: string) => string {
  return (value, where) => {
    try {
      return reader(value, where);
    } catch {
      throw new WrongShapeError(`${where} has an invalid format`);
    }
  };
}

function parseVm(value: unknown, where: string): NodeVm {
  const vm = object(value, where);
  const disks = listOf(parseDisk)(vm['disks'], `${where}.disks`);
  if (new Set(disks.map((disk) => disk.disk_key)).size !== disks.length) throw new WrongShapeError(`${where}.disks contains the same disk_key twice`);
  disks.forEach((disk, index) => {
    if (disk.disk_id !== index) throw wrong(`${where}.disks[${index}].disk_id`, `${index}, its place in the list`, disk.disk_id);
  });
  return {
    name: text(vm['name'], `${where}.name`),
    source: oneOf(...NODE_SOURCES)(vm['source'], `${where}.source`),
    source_ref: text(vm['source_ref'], `${where}.source_ref`),
    disks,
    ...(vm['uuid'] === undefined ? {} : { uuid: text(vm['uuid'], `${where}.uuid`) }),
    ...(vm['state'] === undefined ? {} : { state: oneOf(...NODE_VM_STATES)(vm['state'], `${where}.state`) }),
    ...(vm['definition'] === undefined ? {} : { definition: parseDefinition(vm['definition'], `${where}.definition`) }),
    ...(vm['left_out_disks'] === undefined ? {} : { left_out_disks: listOf(parseLeftOut)(vm['left_out_disks'], `${where}.left_out_disks`) }),
  };
}

function parseDefinition(value: unknown, where: string): NodeVmDefinition {
  const definition = object(value, where);
  return { format: oneOf('libvirt-domain-xml')(definition['format'], `${where}.format`), text: text(definition['text'], `${where}.text`) };
}

function parseLeftOut(value: unknown, where: string): NodeLeftOutDisk {
  const disk = object(value, where);
  return {
    disk_key: text(disk['disk_key'], `${where}.disk_key`),
    reason: text(disk['reason'], `${where}.reason`),
    detail: text(disk['detail'], `${where}.detail`),
  };
}

function parseDisk(value: unknown, where: string): NodeDisk {
  const disk = object(value, where);
  return {
    disk_id: wholeNumber(disk['disk_id'], `${where}.disk_id`),
    disk_key: text(disk['disk_key'], `${where}.disk_key`),
    size_bytes: wholeNumber(disk['size_bytes'], `${where}.size_bytes`),
    format: oneOf('qcow2', 'raw')(disk['format'], `${where}.format`),
    path: text(disk['path'], `${where}.path`),
    change_tracking: flag(disk['change_tracking'], `${where}.change_tracking`),
    change_ids: listOf(text)(disk['change_ids'], `${where}.change_ids`),
    broken_change_ids: listOf(text)(disk['broken_change_ids'], `${where}.broken_change_ids`),
    problem: orNull(parseProblem)(disk['problem'], `${where}.problem`),
    ...(disk['change_id_problems'] === undefined
      ? {}
      : { change_id_problems: listOf(parseChangeIdProblem)(disk['change_id_problems'], `${where}.change_id_problems`) }),
  };
}

function parseChangeIdProblem(value: unknown, where: string): NonNullable<NodeDisk['change_id_problems']>[number] {
  const problem = object(value, where);
  return {
    change_id: text(problem['change_id'], `${where}.change_id`),
    code: oneOf(...NODE_CHANGE_ID_PROBLEMS)(problem['code'], `${where}.code`),
    detail: text(problem['detail'], `${where}.detail`),
  };
}

function parseProblem(value: unknown, where: string): NonNullable<NodeDisk['problem']> {
  const problem = object(value, where);
  return { code: text(problem['code'], `${where}.code`), detail: text(problem['detail'], `${where}.detail`) };
}

function firstBroken(errors: readonly ValidationError[], path: string): string | null {
  for (const error of errors) {
    const where = path === '' ? error.property : `${path}.${error.property}`;
    const own = Object.values(error.constraints ?? {})[0];
    if (own !== undefined) return `${where}: ${own}`;
    const nested = firstBroken(error.children ?? [], where);
    if (nested !== null) return nested;
  }
  return null;
}
