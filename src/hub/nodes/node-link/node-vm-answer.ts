import { listOf, matching, object, oneOf, orNull, text, wholeNumber, WrongShapeError, wrong } from '../../../lib/json-shape/json-shape.js';
import type { NodeBootCheckArtefacts, NodeBootCheckReport, NodeDefinitionChange, NodeVmRestoreReport } from '../../../contract/node-api.js';

// Like node-answer.ts, for VMs that the node creates from restore points.

const base64 = matching(/^[A-Za-z0-9+/]*={0,2}$/, 'base64');

export function parseSettled(answer: unknown): void {
  if (object(answer, 'the answer')['settled'] !== true) throw new WrongShapeError('settled must be true');
}

export function parseVmRestoreReport(answer: unknown): NodeVmRestoreReport {
  const report = object(answer, 'the answer');
  return {
    job_id: text(report['job_id'], 'job_id'),
    status: oneOf('running', 'completed', 'failed', 'cancelled')(report['status'], 'status'),
    phase: oneOf('copying', 'defining', 'undoing', 'done')(report['phase'], 'phase'),
    disks: listOf(parseDisk)(report['disks'], 'disks'),
    domain: orNull((value, where) => {
      const domain = object(value, where);
      return { name: text(domain['name'], `${where}.name`), uuid: text(domain['uuid'], `${where}.uuid`) };
    })(report['domain'], 'domain'),
    changes: listOf(parseChange)(report['changes'], 'changes'),
    start_error: orNull(parseProblem)(report['start_error'], 'start_error'),
    error: orNull(parseProblem)(report['error'], 'error'),
  };
}

export function parseBootCheckReport(answer: unknown): NodeBootCheckReport {
  const report = object(answer, 'the answer');
  return {
    check_id: text(report['check_id'], 'check_id'),
    status: oneOf('running', 'booted', 'not_booted', 'failed')(report['status'], 'status'),
    sign: orNull(oneOf('console_text', 'guest_agent'))(report['sign'], 'sign'),
    detail: anyText(report['detail'], 'detail'),
    seconds: amount(report['seconds'], 'seconds'),
    changes: listOf(parseChange)(report['changes'], 'changes'),
    error: orNull(parseProblem)(report['error'], 'error'),
  };
}

export function parseBootCheckArtefacts(answer: unknown): NodeBootCheckArtefacts {
  const artefacts = object(answer, 'the answer');
  return {
    console_base64: base64(artefacts['console_base64'], 'console_base64'),
    screenshot_base64: orNull(base64)(artefacts['screenshot_base64'], 'screenshot_base64'),
    screenshot_type: orNull(oneOf('image/png', 'image/x-portable-pixmap'))(artefacts['screenshot_type'], 'screenshot_type'),
    screenshot_problem: orNull(text)(artefacts['screenshot_problem'], 'screenshot_problem'),
  };
}

function parseDisk(value: unknown, where: string): NodeVmRestoreReport['disks'][number] {
  const disk = object(value, where);
  return {
    disk_key: text(disk['disk_key'], `${where}.disk_key`),
    status: oneOf('pending', 'copying', 'comparing', 'completed')(disk['status'], `${where}.status`),
    percent: amount(disk['percent'], `${where}.percent`),
    file: orNull(text)(disk['file'], `${where}.file`),
  };
}

function parseChange(value: unknown, where: string): NodeDefinitionChange {
  const change = object(value, where);
  return { code: text(change['code'], `${where}.code`), detail: anyText(change['detail'], `${where}.detail`) };
}

function parseProblem(value: unknown, where: string): { readonly code: string; readonly detail: string } {
  const problem = object(value, where);
  return { code: text(problem['code'], `${where}.code`), detail: anyText(problem['detail'], `${where}.detail`) };
}

function anyText(value: unknown, where: string): string {
  return value === '' ? '' : text(value, where);
}

function amount(value: unknown, where: string): number {
  if (typeof value === 'number' && value >= 0 && !Number.isInteger(value)) return value;
  try {
    return wholeNumber(value, where);
  } catch {
    throw wrong(where, 'a number from 0', value);
  }
}
