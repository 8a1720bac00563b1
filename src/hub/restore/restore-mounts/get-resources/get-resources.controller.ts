import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { DataSource, In } from 'typeorm';
import { RestoreMountReadModel } from '../../../../../projections/restore-mounts/restore-mounts.read-model.js';
import { ACTIVE_MOUNTS } from '../model/active-mounts.reader.js';
import { HubConfig } from '../../../hub.config.js';
import { MountBrowser } from '../../mounts/mount-browser.js';
import { MountDrivers } from '../../mounts/mount-drivers.js';
import { isAlive } from '../../../../lib/process/process-identity.js';
import type { MountResource } from '../model/restore-mount.events.js';
import { type MountResourceDto, ResourcesDto } from './get-resources.dto.js';
import { PresentOnly } from '../../../../lib/http/query.guard.js';

@ApiTags('file-level restore')
@Controller('restore/resources')
export class GetResourcesController {
  constructor(
    private readonly dataSource: DataSource,
    private readonly config: HubConfig,
    private readonly drivers: MountDrivers,
    private readonly browser: MountBrowser,
  ) {}

  @Get()
  @PresentOnly()
  @ApiOperation({ summary: 'Show mount slots and the resources of mounts', description: 'Liveness and downloads are measured when the request is made.' })
  @ApiOkResponse({ type: ResourcesDto })
  async resources(): Promise<ResourcesDto> {
    const [rows, drivers] = await Promise.all([
      this.dataSource.getRepository(RestoreMountReadModel).find({ where: { status: In([...ACTIVE_MOUNTS]) }, order: { created_position: 'ASC' } }),
      this.drivers.availability(),
    ]);
    return {
      slots_total: this.config.mountSlots,
      slots_used: rows.length,
      slots_free: Math.max(0, this.config.mountSlots - rows.length),
      mount_driver: this.config.mountDriver,
      drivers: drivers.map(({ name, availability }) => ({
        name,
        available: availability.available,
        reason: availability.available ? null : availability.reason,
      })),
      mounts: rows.map((row) => ({
        mount_id: row.mount_id,
        backup_id: row.backup_id,
        // The query selects only these.
        status: row.status as (typeof ACTIVE_MOUNTS)[number],
        active_downloads: row.mount_path === null ? 0 : this.browser.streamsFrom(row.mount_path),
        resources: row.resources.map(toResourceDto),
      })),
    };
  }
}

function toResourceDto({ kind, name, pid, process_start_ticks, boot_id }: MountResource): MountResourceDto {
  const isProcess = pid !== null && process_start_ticks !== null && boot_id !== null;
  return { kind, name, pid, alive: isProcess ? isAlive({ pid, start_ticks: process_start_ticks, boot_id }) : null };
}
