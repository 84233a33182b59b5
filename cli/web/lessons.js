// Copy buttons in a lesson: one for each command, each line that is typed, and each other block.

import { copyText } from '../copy.js';

const { copy, copied, notCopied } = document.body.dataset;

for (const typed of document.querySelectorAll('.typed')) {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'copy';
  button.textContent = copy;
  button.setAttribute('aria-live', 'polite');
  let timer = 0;
  button.addEventListener('click', async () => {
    // Without the line break at its end, a shell does not run the command before it is read.
    const isCopied = await copyText(typed.textContent.trimEnd());
    if (!isCopied) getSelection().selectAllChildren(typed);
    button.textContent = isCopied ? copied : notCopied;
    clearTimeout(timer);
    timer = setTimeout(() => (button.textContent = copy), 3000);
  });
  if (typed.previousElementSibling?.className === 'prompt') typed.after(button);
  else typed.closest('.block').append(button);
}
