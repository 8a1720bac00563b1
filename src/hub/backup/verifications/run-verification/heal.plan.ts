import type { VerificationFinding } from '../model/verification.events.js';
import type { KnownVerification } from '../model/verification.state.js';

/** A missing folder takes two: its manifest says which files belong into it. */
const MAX_HEALINGS = 3;

/** A sealed file whose content is right cannot be mended by what another place holds. */
const HEALABLE: ReadonlySet<VerificationFinding['code']> = new Set([
  'restore_point_missing',
  'manifest_broken',
  'manifest_differs',
  'manifest_signature_invalid',
  'file_missing',
  'file_truncated',
  'file_altered',
  'file_unreadable',
  'digests_damaged',
]);

/** A restore point to be healed. */
export type PointToHeal = {
  readonly backup_id: string;
  readonly folder: string;
  readonly manifest_sha256: string | null;
  readonly files: readonly { readonly sha256: string }[];
  /** Names in the folder. */
  readonly damaged: readonly { readonly file: string; readonly part: 'file' | 'list' }[];
};

/** The damaged restore points that are to be healed now. Each is tried a few times at most, because storage may damage what is written again, too. */
export function pointsToHeal(findings: readonly VerificationFinding[], { request, healings, unhealed }: KnownVerification): readonly PointToHeal[] {
  if (request.heal !== true) return [];
  return request.points.flatMap(({ backup_id, folder, manifest_sha256, files }) => {
    const own = findings.filter((finding) => finding.backup_id === backup_id && HEALABLE.has(finding.code));
    const tried = healings.filter((healing) => healing.backup_id === backup_id).length;
    if (own.length === 0 || tried >= MAX_HEALINGS || unhealed.includes(backup_id)) return [];
    const damaged = own.flatMap(({ code, file }) => {
      const name = file?.startsWith(`${folder}/`) === true ? file.slice(folder.length + 1) : null;
      return name === null ? [] : [{ file: name, part: code === 'digests_damaged' ? ('list' as const) : ('file' as const) }];
    });
    return [{ backup_id, folder, manifest_sha256, files, damaged }];
  });
}

/** A place that holds a restore point. */
export type Place = {
  readonly repository_id: string;
  readonly folder: string | null;
  readonly manifest_sha256: string | null;
  readonly files: readonly { readonly sha256: string }[];
};

/** Other places with the same manifest or one of the same files. Each block that is taken from them is proven, so they may be damaged themselves. */
export function placesToHealFrom(point: PointToHeal, repositoryId: string, places: readonly Place[]): readonly Place[] {
  const own = new Set(point.files.map(({ sha256 }) => sha256));
  return places.filter((place) => {
    if (place.repository_id === repositoryId || place.folder !== point.folder) return false;
    const sameManifest = point.manifest_sha256 !== null && place.manifest_sha256 === point.manifest_sha256;
    return sameManifest || place.files.some(({ sha256 }) => own.has(sha256));
  });
}
