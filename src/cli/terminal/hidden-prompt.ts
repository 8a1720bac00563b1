import { stdin, stderr } from 'node:process';

const CTRL_C = '\u0003';
const CTRL_D = '\u0004';
const BACKSPACES = ['\u0008', '\u007f'];

/**
 * Asks for a secret on the terminal, without echo.
 * @returns null when there is no terminal, or the user pressed Ctrl-C or Ctrl-D
 */
export async function askHidden(question: string): Promise<string | null> {
  if (!stdin.isTTY) return null;
  const wasRaw = stdin.isRaw;
  stdin.setRawMode(true);
  // Only now: input typed before raw mode would be echoed.
  stderr.write(question);
  stdin.resume();
  stdin.setEncoding('utf8');
  return new Promise((resolve) => {
    let answer = '';
    const finish = (result: string | null): void => {
      stdin.off('data', typed);
      stdin.setRawMode(wasRaw);
      stdin.pause();
      stderr.write('\n');
      resolve(result);
    };
    const typed = (text: string): void => {
      // Pasted text arrives in one piece.
      for (const letter of text) {
        const ends = letter === '\r' || letter === '\n';
        if (ends || letter === CTRL_C || letter === CTRL_D) {
          finish(ends ? answer : null);
          return;
        }
        answer = BACKSPACES.includes(letter) ? answer.slice(0, -1) : answer + letter;
      }
    };
    stdin.on('data', typed);
  });
}
