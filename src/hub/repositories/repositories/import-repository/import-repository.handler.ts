import { join, normalize } from 'node:path';
import { CommandBus, CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { DataSource, Not } from 'typeorm';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { ImportRestorePoint } from '../../../backup/backups/model/backup.commands.js';
import type { FullReason, RestorePointImported } from '../../../backup/backups/model/backup.events.js';
import { RecordRestorePoint } from '../../../backup/chains/model/chain.commands.js';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { messageOf } from '../../../../kernel/error-message.js';
import { Clock, derivedId } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import type { Position } from '../../../../kernel/position.js';
import { REPOSITORIES, RegisterLock } from '../../../store/register-lock/register-lock.js';
import type { Manifest } from '../../../../storage/repository-files/manifest.js';
import { countSignatures, type SignatureVerdict } from '../../../../storage/repository-files/manifest-signature.js';
import { NoteError, type NoteVerifier, parseVerifier } from '../../../../lib/ledger/signed-note.js';
import { NODE_CHANGE_ID_PROBLEMS } from '../../../../contract/words.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import type { RepositoryMarker } from '../../../../storage/repository-files/repository-marker.js';
import { ImportRepository, type RepositoryImport } from '../model/repository.commands.js';
import { repositoryStream } from '../model/repository.events.js';
import { repositoryDecider } from '../model/repository.state.js';
import { decideImportRepository, type ImportRepositoryData } from './import-repository.decide.js';

const decider = repositoryDecider(decideImportRepository);

const FULL_REASONS: readonly FullReason[] = [
  'first_backup',
  'requested',
  'no_change_tracking',
  ...NODE_CHANGE_ID_PROBLEMS,
  'disk_added',
  'disk_removed',
  'disk_resized',
  'parent_missing',
  'parent_truncated',
  'parent_altered',
  'chain_too_long',
  'flattened',
];

/** Problems of a single restore point, which do not prevent the import of others. */
const SKIPPED: ReadonlySet<string> = new Set([
  'backup_already_known',
  'restore_point_unsafe',
  'manifest_signature_invalid',
  'manifest_broken',
  'restore_point_missing',
]);

/** Every step can be repeated: if the hub is killed during an import, repeating the command imports the rest. */
@CommandHandler(ImportRepository)
export class ImportRepositoryHandler implements ICommandHandler<ImportRepository> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly commands: CommandBus,
    private readonly files: RepositoryFiles,
    private readonly clock: Clock,
    private readonly dataSource: DataSource,
    private readonly lock: RegisterLock,
  ) {}

  async execute(command: ImportRepository): Promise<RepositoryImport> {
    const keys = command.keys.map(verifierOf);
    const path = normalize(command.path).replace(/(?<=.)\/+$/, '');
    return this.lock.run(REPOSITORIES, ['repositories'], async () => {
      const marker = await this.markerAt(path);
      const repositoryId = marker.repository_id;
      const others = await this.dataSource.getRepository(RepositoryReadModel).findBy({ repository_id: Not(repositoryId) });
      const probe = await this.files.probe(
        path,
        others.map((other) => other.path),
        repositoryId,
      );
      const failed = probe.checks.find((check) => !check.ok) ?? null;
      const data: ImportRepositoryData = {
        repository: { repository_id: repositoryId, name: command.name, type: 'local', path, created_at: marker.created_at, imported_at: this.clock.iso() },
        name_holder: others.find((other) => other.name === command.name)?.repository_id ?? null,
        failed: failed === null ? null : { name: failed.name, detail: failed.detail },
      };
      const { state, events, position } = await this.runner.run(repositoryStream(repositoryId), decider, data, command.context);
      if (state.status === 'none') throw new Error(`repository ${repositoryId} was not recorded`);
      const points = await this.importPoints(repositoryId, path, keys, command.context);
      return { repository: state.repository, created: events.length > 0, ...points, position: points.position ?? position };
    });
  }

  private async markerAt(path: string): Promise<RepositoryMarker> {
    const marker = await this.files.readMarker(path).catch((error: unknown) => {
      if (error instanceof DomainError) throw error;
      throw new DomainError('invalid', 'repository_path_invalid', `The marker at "${path}" cannot be read: ${messageOf(error)}`, { path });
    });
    if (marker === null)
      throw new DomainError('invalid', 'repository_marker_missing', `"${path}" is not a repository: it has no marker. Choose the folder that has one.`, {
        path,
      });
    return marker;
  }

  /** Imports parents before the restore points that depend on them. */
  private async importPoints(
    repositoryId: string,
    path: string,
    keys: readonly NoteVerifier[],
    context: CommandContext,
  ): Promise<Pick<RepositoryImport, 'imported' | 'already_known' | 'skipped' | 'signatures' | 'position'>> {
    const imported: string[] = [];
    const skipped: { folder: string; reason: string }[] = [];
    const present = new Set<string>();
    const signatures: SignatureVerdict[] = [];
    let alreadyKnown = 0;
    let position: Position | null = null;
    const found = [...(await this.files.listRestorePoints(path))].sort((a, b) => (a.manifest?.started_at ?? '').localeCompare(b.manifest?.started_at ?? ''));
    for (const { folder, manifest, manifest_sha256, problem } of found) {
      const parent = manifest?.parent ?? null;
      if (manifest === null) skipped.push({ folder, reason: problem });
      else if (parent !== null && !present.has(parent.backup_id)) {
        skipped.push({ folder, reason: `It depends on restore point ${parent.backup_id}, which is missing.` });
      } else {
        try {
          await this.refuseUnsafe(path, folder, manifest);
          const signature = await this.signatureOf(path, folder, keys);
          const outcome = await this.importPoint(repositoryId, path, folder, { manifest, sha256: manifest_sha256 }, context);
          present.add(manifest.backup_id);
          signatures.push(signature);
          if (outcome.imported) imported.push(manifest.backup_id);
          else alreadyKnown += 1;
          position = outcome.position ?? position;
        } catch (error) {
          if (!(error instanceof DomainError) || !SKIPPED.has(error.code)) throw error;
          skipped.push({ folder, reason: error.message });
        }
      }
    }
    return { imported, already_known: alreadyKnown, skipped, signatures: countSignatures(signatures), position };
  }

  /** Damaged restore points are imported; the damage is found when they are verified or used. Files that could reference other files are refused. */
  private async refuseUnsafe(path: string, folder: string, manifest: Manifest): Promise<void> {
    for (const disk of manifest.disks) {
      const problem = await this.files.fileProblem(path, folder, manifest.backup_id, disk, true);
      if (problem !== null)
        throw new DomainError('conflict', 'restore_point_unsafe', `Its file ${disk.file} ${problem.detail}.`, { folder, reason: problem.reason });
    }
  }

  /** @throws DomainError manifest_signature_invalid */
  private async signatureOf(path: string, folder: string, keys: readonly NoteVerifier[]): Promise<SignatureVerdict> {
    const verdict = await this.files.signatureOf(path, folder, await this.files.readManifestAndHash(path, folder), keys);
    const refuse = (what: string): never => {
      throw new DomainError('conflict', 'manifest_signature_invalid', `The signature of its manifest ${what}.`, { folder });
    };
    if (verdict.kind === 'invalid') return refuse(`is not valid: ${verdict.detail}`);
    if (verdict.kind === 'unknown_key' && keys.length > 0) return refuse(`is by ${verdict.key}, which is not one of the given keys`);
    return verdict;
  }

  /** Records the backup before the chain; otherwise a chain could show an unknown backup. */
  private async importPoint(
    repositoryId: string,
    path: string,
    folder: string,
    { manifest, sha256 }: { readonly manifest: Manifest; readonly sha256: string },
    context: CommandContext,
  ): Promise<{ readonly imported: boolean; readonly position: Position | null }> {
    const own = { ...context, commandId: derivedId(`import/${context.commandId}/${manifest.backup_id}`) };
    const data: RestorePointImported['data'] = {
      backup_id: manifest.backup_id,
      vm_id: manifest.vm.vm_id,
      vm_name: manifest.vm.name,
      node_id: manifest.vm.node_id,
      repository_id: repositoryId,
      repository_path: path,
      backup_type: manifest.backup_type,
      // A reason from a later version is unknown here.
      full_reason: manifest.full_reason === null ? null : (FULL_REASONS.find((word) => word === manifest.full_reason) ?? 'requested'),
      chain_id: manifest.chain_id,
      parent_backup_id: manifest.parent?.backup_id ?? null,
      folder,
      instant: manifest.instant,
      started_at: manifest.started_at,
      sealed_at: manifest.sealed_at,
      manifest_sha256: sha256,
      disks: manifest.disks.map((disk) => ({
        disk_id: disk.disk_id,
        disk_key: disk.disk_key,
        size_bytes: disk.virtual_size_bytes,
        source_format: disk.source_format,
        file: disk.file,
        parent_file: disk.backing_file === null ? null : normalize(join(folder, disk.backing_file)),
        parent_change_id: disk.parent_change_id,
        change_id: disk.change_id,
        file_size_bytes: disk.file_size_bytes,
        sha256: disk.sha256,
        mtime_ns: disk.mtime_ns,
      })),
      imported_at: this.clock.iso(),
    };
    const outcome = await this.commands.execute(new ImportRestorePoint(data, own));
    const rewritten = manifest.rewrites !== undefined;
    const { chain_id, vm_id, backup_id, parent_backup_id } = data;
    await this.commands.execute(new RecordRestorePoint(chain_id, vm_id, repositoryId, backup_id, parent_backup_id, own, rewritten, manifest.locked_until));
    return outcome;
  }
}

/** @throws DomainError key_invalid */
function verifierOf(key: string): NoteVerifier {
  try {
    return parseVerifier(key);
  } catch (error) {
    if (!(error instanceof NoteError)) throw error;
    throw new DomainError('invalid', 'key_invalid', `"${key}" is not a key of a hub: ${error.message}. Copy the key from GET /ledger/key of that hub.`, {
      key,
    });
  }
}
