/** A deployment or removal that cannot go on. The message says what was wrong, with which host or file, and what to do. */
export class DeployError extends Error {
  override readonly name = 'DeployError';
}
