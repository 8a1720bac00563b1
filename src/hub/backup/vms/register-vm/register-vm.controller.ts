import { Body, Controller, Post, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiCreatedResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { ApiAsksNode, ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { RegisterVm } from '../model/vm.commands.js';
import { RegisteredVmDto, RegisterVmDto } from './register-vm.dto.js';

@ApiTags('vms')
@Controller('vms')
export class RegisterVmController {
  constructor(private readonly commands: CommandBus) {}

  @Post()
  @ApiOperation({ summary: 'Register a VM for backups', description: 'The hub queries the node for the description of the VM.' })
  @ApiCreatedResponse({ type: RegisteredVmDto })
  @ApiProblem(400, 'validation_failed', 'vm_name_invalid', 'vm_without_disks', 'node_ambiguous')
  @ApiProblem(404, 'vm_not_found_at_node', 'node_not_found')
  @ApiProblem(409, 'vm_name_taken', 'vm_already_registered', 'vm_removed', 'no_node_registered', 'libvirt_not_configured')
  @ApiAsksNode()
  @ApiProblem(503, 'image_root_silent', 'read_model_behind', 'libvirt_unavailable')
  async register(@Body() body: RegisterVmDto, @Context() context: CommandContext, @Res({ passthrough: true }) response: Response): Promise<RegisteredVmDto> {
    const command = new RegisterVm(body.name, body.node_id ?? null, body.source, body.source_ref, context);
    const { vm, position } = await this.commands.execute(command);
    answerPosition(response, position);
    response.location(`/api/v1/vms/${vm.vm_id}`);
    return { ...vm, position };
  }
}
