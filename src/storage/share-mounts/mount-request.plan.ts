import { listOf, matching, object, oneOf, orNull, text, WrongShapeError } from '../../lib/json-shape/json-shape.js';
import { type Share, shareProblem } from './share-mount.plan.js';

/** What the hub asks the mount helper for: one line of JSON on its socket. */
export type MountRequest =
  { readonly do: 'mount'; readonly name: string; readonly share: Share } | { readonly do: 'unmount'; readonly name: string } | { readonly do: 'status' };

const UUID_PATTERN = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const UUID = matching(UUID_PATTERN, 'a UUID in lower case');

/** Whether a mount point of this name can be the helper's: what else is mounted in its folder is left alone. */
export function isPointName(name: string): boolean {
  return UUID_PATTERN.test(name);
}

/** Checks everything again that the hub should have checked: the helper has rights that the hub has not. @throws WrongShapeError */
export function parseMountRequest(value: unknown): MountRequest {
  const request = object(value, 'request');
  const action = oneOf('mount', 'unmount', 'status')(request['do'], 'do');
  if (action === 'status') return { do: action };
  const name = UUID(request['name'], 'name');
  return action === 'unmount' ? { do: action, name } : { do: action, name, share: parseShare(request['share']) };
}

function parseShare(value: unknown): Share {
  const found = object(value, 'share');
  const server = text(found['server'], 'share.server');
  const options = listOf(text)(found['options'], 'share.options');
  const share: Share =
    oneOf('nfs', 'cifs')(found['type'], 'share.type') === 'nfs'
      ? { type: 'nfs', server, export: text(found['export'], 'share.export'), options }
      : {
          type: 'cifs',
          server,
          share: text(found['share'], 'share.share'),
          options,
          credentials: orNull(text)(found['credentials'], 'share.credentials'),
        };
  const problem = shareProblem(share);
  if (problem !== null) throw new WrongShapeError(`share.${problem.field} ${problem.detail}`);
  return share;
}
