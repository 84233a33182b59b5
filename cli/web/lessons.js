// Copy buttons in a lesson: one for each command, each line that is typed, and each other block.

const { copy, copied, notCopied } = document.body.dataset;

/** Copies a text. Reports whether that worked. */
async function write(text) {
  // Browsers have navigator.clipboard for https:// and for their own machine only, and a class opens http://192.168.0.7.
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement('textarea');
    area.className = 'offscreen';
    area.value = text;
    document.body.append(area);
    area.select();
    const isCopied = document.execCommand('copy');
    area.remove();
    return isCopied;
  }
}

for (const typed of document.querySelectorAll('.typed')) {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'copy';
  button.textContent = copy;
  button.setAttribute('aria-live', 'polite');
  let timer = 0;
  button.addEventListener('click', async () => {
    // Without the line break at its end, a shell does not run the command before it is read.
    const isCopied = await write(typed.textContent.trimEnd());
    button.focus();
    if (!isCopied) getSelection().selectAllChildren(typed);
    button.textContent = isCopied ? copied : notCopied;
    clearTimeout(timer);
    timer = setTimeout(() => (button.textContent = copy), 3000);
  });
  if (typed.previousElementSibling?.className === 'prompt') typed.after(button);
  else typed.closest('.block').append(button);
}
