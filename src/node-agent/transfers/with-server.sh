# bash with-server.sh PID_FILE COUNT SERVER ARG... COMMAND ARG...
#
# Starts the server, which is the first COUNT words, waits until it has written its PID_FILE, that is until it listens, and becomes the command. The server must end with
# its parent by itself (nbdkit --exit-with-parent -f). Why not nbdcopy -- [ nbdkit ... ]: to a server that it has started itself nbdcopy makes one connection only.
#
# What the server logs goes to file descriptor 9: as soon as that tells of a target without space the command is ended. The server itself would try again until its patience
# is at an end, because it cannot tell a full target from a network that is gone.
main() {
  local pid_file=$1 count=$2
  shift 2
  exec 9> >(grep -q 'error=ENOSPC' && echo 'the copy is ended: writing to the target: No space left on device' >&2 && kill -TERM $$)
  "${@:1:count}" 3>&- &
  local server=$!
  exec 9>&-
  shift "$count"
  until [[ -s "$pid_file" ]]; do
    kill -0 "$server" 2>/dev/null || {
      wait "$server"
      exit
    }
    sleep 0.02
  done
  exec "$@"
}

main "$@"
exit
