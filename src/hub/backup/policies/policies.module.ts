import { Module } from '@nestjs/common';
import { RegisterLockModule } from '../../store/register-lock/register-lock.module.js';
import { CreatePolicyController } from './create-policy/create-policy.controller.js';
import { CreatePolicyHandler } from './create-policy/create-policy.handler.js';
import { DeletePolicyController } from './delete-policy/delete-policy.controller.js';
import { DeletePolicyHandler } from './delete-policy/delete-policy.handler.js';
import { EditPolicyController } from './edit-policy/edit-policy.controller.js';
import { EditPolicyHandler } from './edit-policy/edit-policy.handler.js';
import { GetPolicyController } from './get-policy/get-policy.controller.js';
import { ListPoliciesController } from './list-policies/list-policies.controller.js';
import { PolicyReader } from './model/policy.reader.js';
import { PreviewPolicyController } from './preview-policy/preview-policy.controller.js';

@Module({
  imports: [RegisterLockModule],
  controllers: [ListPoliciesController, GetPolicyController, CreatePolicyController, EditPolicyController, DeletePolicyController, PreviewPolicyController],
  providers: [CreatePolicyHandler, EditPolicyHandler, DeletePolicyHandler, PolicyReader],
})
export class PoliciesModule {}
