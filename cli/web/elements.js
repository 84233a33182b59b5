// Makes elements. What others have sent is only ever put into text nodes.

export function make(tag, className, ...content) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...content);
  return made;
}
