"""The text of the drawn pages: neutral office words, fictitious companies and people."""

_TEXT = (
    "the of and to in a is for that with on as are this be from by was or at an it have not which were "
    "been their its has will our may all if can results test report sample month product number total "
    "study data review plan market analysis office meeting information request project section attached "
    "following during between these average method table figure price order schedule committee research "
    "process material program general however several under would should increase level system value "
    "period change rate standard copy first second quarter please regarding department account service "
    "cost field group current public state control new paper only received discussed approved questions "
    "answer available required two three more than other into after before possible several within "
    "measured observed per cent 12 1,200 45 3.5 (see) also because each where while such"
)
WORDS = _TEXT.split()

COMPANIES = (
    "HARTWELL CHEMICAL",
    "NORTHGATE RESEARCH",
    "ALDER & FINCH",
    "Meridian Works",
    "Carver Institute",
    "ORCHARD MILLS",
    "Bellweather Group",
    "STANTON LABS",
    "Quill & Rowe",
    "Pinecrest Supply",
    "HALVERSON INC",
    "Lakeside Council",
)
PEOPLE = (
    "J. R. Whitcomb",
    "Dr. A. Moreau",
    "Ms. L. Tanaka",
    "P. Okafor",
    "R. Lindqvist",
    "M. E. Castellan",
    "H. Brandt",
    "Mr. T. Ashdown",
    "S. Villanueva",
    "K. Petrosyan",
    "Dr. N. Sharma",
    "G. F. Dunmore",
)
PLACES = (
    "Ashford, OH 44105",
    "Milton, NC 27305",
    "New Haven, CT",
    "Clearwater, FL",
    "Boston, MA 02110",
    "Leeds, UK",
)
DATES = (
    "March 4, 1987",
    "11/23/92",
    "June 18, 1974",
    "1996-02-12",
    "Oct. 9, 1981",
    "July 30, 1968",
    "5/17/90",
)
SUBJECTS = (
    "Quarterly review",
    "Filter samples",
    "Sales meeting",
    "Project 214",
    "Budget request",
    "Storage trial",
    "Travel plan",
)
TITLES = (
    "Effect of storage on moisture",
    "A survey of regional demand",
    "Annual plan and outlook",
    "Analysis of trial results",
    "Stability of stored material",
    "Process control at two sites",
    "Measurement of particle size",
    "Distribution study",
)
HEADLINES = (
    "Council votes on new plan",
    "Harvest falls for third year",
    "City weighs water rules",
    "Workers return to mill",
    "Study finds mixed results",
    "Officials defend spending",
    "Court hears final appeal",
    "Schools open late again",
)
SLOGANS = (
    "Taste the morning",
    "Now even better",
    "Made for you",
    "Simply bright",
    "Come back to it",
    "The quiet one",
)
