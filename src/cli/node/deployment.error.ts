/** A deployment or removal that cannot go on: what was wrong, with what, and what to do. */
export class DeployError extends Error {
  override readonly name = 'DeployError';
}
