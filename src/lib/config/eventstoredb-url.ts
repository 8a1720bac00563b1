export interface EventStoreDbUrl {
  readonly hosts: readonly { readonly address: string; readonly port: number }[];
  /** The only host is a name under which a cluster's members are found. */
  readonly discover: boolean;
  readonly tls: boolean;
  readonly credentials: { readonly username: string; readonly password: string } | null;
}

const URL_FORM = /^esdb(?<discover>\+discover)?:\/\/(?:(?<user>[^:@/?#]+):(?<password>[^@/?#]+)@)?(?<hosts>[^@/?#]+)\/?(?:\?tls=(?<tls>true|false))?$/;
const HOST_FORM = /^(?<address>[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)(?::(?<port>\d{1,5}))?$/;
const DEFAULT_PORT = 2113;

/** @throws RangeError with a message that holds no part of the text, which may be a secret */
export function parseEventStoreDbUrl(text: string): EventStoreDbUrl {
  const { discover, user, password, hosts = '', tls } = URL_FORM.exec(text)?.groups ?? {};
  const parsed = hosts.split(',').map((host) => {
    const { address, port } = HOST_FORM.exec(host)?.groups ?? {};
    return { address: address ?? '', port: port === undefined ? DEFAULT_PORT : Number(port) };
  });
  if (parsed.some(({ address, port }) => address === '' || port === 0 || port > 65535)) {
    throw new RangeError('must be esdb://user:password@host:port,... or esdb+discover://user:password@name:port, with nothing else but ?tls=false');
  }
  if (discover !== undefined && parsed.length > 1) throw new RangeError('must name a single host with esdb+discover://');
  if (tls !== 'false' && user === undefined) throw new RangeError('must name a user and a password, unless it ends in ?tls=false');
  try {
    const credentials = user === undefined || password === undefined ? null : { username: decodeURIComponent(user), password: decodeURIComponent(password) };
    return { hosts: parsed, discover: discover !== undefined, tls: tls !== 'false', credentials };
  } catch {
    throw new RangeError('must have a user and a password whose special characters are percent-encoded');
  }
}
